# cuDNN, for the convolutions of backend cuda (src/backend/cuda). VOCDIST_CUDA as
# in VocdistCuda.cmake: AUTO (build them if cuDNN is found), ON (fail if it is
# not), OFF. Sets VOCDIST_HAVE_CUDNN and defines vocdist::CUDNN. Only headers and
# libcudnn are needed, neither nvcc nor a driver.
#
# Looked for in CUDNN_ROOT and CUDA_HOME (CMake or environment variables), beside
# nvcc, in /usr/local/cuda and in the system. Layouts: those of NVIDIA's packages
# (include, lib64), and that of its Python wheels, site-packages/nvidia with
# {cudnn,cu13,cuda_runtime}/{include,lib}, where libraries have no names without
# a version.
set(VOCDIST_CUDNN_MIN 9.8)
set(VOCDIST_HAVE_CUDNN FALSE)

function(vocdist_cudnn_folders out)
  set(roots ${CUDNN_ROOT} $ENV{CUDNN_ROOT} ${CUDA_HOME} $ENV{CUDA_HOME})
  find_program(NVCC_PROGRAM nvcc HINTS ENV CUDACXX ENV CUDA_HOME
               PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
  mark_as_advanced(NVCC_PROGRAM)
  if(NVCC_PROGRAM)
    get_filename_component(bin ${NVCC_PROGRAM} REALPATH)
    get_filename_component(bin ${bin} DIRECTORY)
    get_filename_component(root ${bin} DIRECTORY)
    list(APPEND roots ${root})
  endif()
  file(GLOB wheels $ENV{VIRTUAL_ENV}/lib/python3*/site-packages/nvidia/cudnn)
  list(APPEND roots ${wheels} /usr/local/cuda)
  set(folders "")
  foreach(root ${roots})
    list(APPEND folders ${root} ${root}/cudnn ${root}/../cudnn ${root}/../cu13
                        ${root}/../cuda_runtime)
  endforeach()
  set(${out} ${folders} PARENT_SCOPE)
endfunction()

# Sets `reason` to what is missing, empty if nothing is.
function(vocdist_find_cudnn reason)
  vocdist_cudnn_folders(folders)
  find_path(CUDNN_INCLUDE cudnn_graph.h HINTS ${folders} PATH_SUFFIXES include)
  find_path(CUDART_INCLUDE cuda_runtime_api.h HINTS ${folders}
            PATH_SUFFIXES include)
  find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR
               HINTS ${folders} PATH_SUFFIXES lib lib64)
  mark_as_advanced(CUDNN_INCLUDE CUDART_INCLUDE CUDNN_LIBRARY)
  if(NOT CUDNN_INCLUDE OR NOT CUDNN_LIBRARY)
    set(${reason} "cuDNN not found (CUDNN_ROOT)" PARENT_SCOPE)
    return()
  endif()
  file(STRINGS ${CUDNN_INCLUDE}/cudnn_version.h version
       REGEX "^#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) +[0-9]+")
  list(TRANSFORM version REPLACE "^.* ([0-9]+).*$" "\\1")
  list(JOIN version "." version)
  set(CUDNN_VERSION ${version} PARENT_SCOPE)
  if(version VERSION_LESS VOCDIST_CUDNN_MIN)
    set(${reason} "cuDNN ${version} in ${CUDNN_INCLUDE} is older than \
${VOCDIST_CUDNN_MIN}" PARENT_SCOPE)
  elseif(NOT CUDART_INCLUDE)
    set(${reason} "cuda_runtime_api.h not found (CUDA_HOME)" PARENT_SCOPE)
  else()
    set(${reason} "" PARENT_SCOPE)
  endif()
endfunction()

if(VOCDIST_CUDA STREQUAL "OFF")
  message(STATUS "cuDNN: off (VOCDIST_CUDA=OFF)")
else()
  vocdist_find_cudnn(reason)
  if(reason STREQUAL "")
    set(VOCDIST_HAVE_CUDNN TRUE)
    add_library(vocdist::CUDNN INTERFACE IMPORTED)
    set_target_properties(vocdist::CUDNN PROPERTIES
      INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${CUDNN_INCLUDE};${CUDART_INCLUDE}"
      INTERFACE_INCLUDE_DIRECTORIES "${CUDNN_INCLUDE};${CUDART_INCLUDE}"
      INTERFACE_LINK_LIBRARIES "${CUDNN_LIBRARY}")
    message(STATUS "cuDNN: ${CUDNN_VERSION} (${CUDNN_LIBRARY})")
  elseif(VOCDIST_CUDA STREQUAL "ON")
    message(FATAL_ERROR "VOCDIST_CUDA=ON: ${reason}\n"
                        "install cuDNN ${VOCDIST_CUDNN_MIN} or newer, or set "
                        "CUDNN_ROOT to its folder")
  else()
    message(STATUS "cuDNN: off (${reason})")
  endif()
endif()

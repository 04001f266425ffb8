# The CUDA kernels (kernels/). VOCDIST_CUDA: AUTO (build them if nvcc works), ON
# (fail if it does not), OFF. Sets VOCDIST_NVCC if they are built.
#
# nvcc is run by custom commands and not as a language of CMake: its checks link
# a program, which fails with the layout of NVIDIA's Python wheels, and the
# tests read what nvcc reports about each kernel.
set(VOCDIST_CUDA AUTO CACHE STRING "CUDA kernels: AUTO, ON or OFF")
set_property(CACHE VOCDIST_CUDA PROPERTY STRINGS AUTO ON OFF)
set(VOCDIST_CUDA_ARCHITECTURES 80 90 100 CACHE STRING
    "Compute capabilities of the CUDA kernels, without the point")
set(VOCDIST_NVCC "")

# Sets `reason` to why the kernels cannot be built, empty if they can.
function(vocdist_check_nvcc reason)
  find_program(NVCC_PROGRAM nvcc HINTS ENV CUDACXX ENV CUDA_HOME
               PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
  mark_as_advanced(NVCC_PROGRAM)
  if(EXISTS "$ENV{CUDACXX}" AND NOT IS_DIRECTORY "$ENV{CUDACXX}")
    set(NVCC_PROGRAM $ENV{CUDACXX})
  endif()
  if(NOT NVCC_PROGRAM)
    set(${reason} "nvcc not found (PATH or CUDACXX)" PARENT_SCOPE)
    return()
  endif()
  set(VOCDIST_NVCC ${NVCC_PROGRAM} PARENT_SCOPE)
  if(VOCDIST_NVCC_CHECKED STREQUAL "${NVCC_PROGRAM} ${VOCDIST_CUDA_ARCHITECTURES}")
    set(${reason} "" PARENT_SCOPE)
    return()
  endif()
  set(probe ${PROJECT_BINARY_DIR}/CMakeFiles/vocdist_probe.cu)
  file(WRITE ${probe} "static __global__ void probe(float *x)\n{\n    *x = 1;\n}\n"
       "void launch(float *x)\n{\n    probe<<<1, 1>>>(x);\n}\n")
  foreach(arch ${VOCDIST_CUDA_ARCHITECTURES})
    list(APPEND codes -gencode arch=compute_${arch},code=sm_${arch})
  endforeach()
  execute_process(COMMAND ${NVCC_PROGRAM} ${codes} -std=c++17 -c ${probe}
                          -o ${probe}.o
                  RESULT_VARIABLE status OUTPUT_VARIABLE text
                  ERROR_VARIABLE text)
  if(NOT status EQUAL 0)
    string(STRIP "${text}" text)
    set(${reason} "${NVCC_PROGRAM} does not compile for architectures \
${VOCDIST_CUDA_ARCHITECTURES}: ${text}" PARENT_SCOPE)
    return()
  endif()
  set(VOCDIST_NVCC_CHECKED "${NVCC_PROGRAM} ${VOCDIST_CUDA_ARCHITECTURES}"
      CACHE INTERNAL "nvcc and architectures that were tried with success")
  set(${reason} "" PARENT_SCOPE)
endfunction()

if(NOT VOCDIST_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "VOCDIST_CUDA must be AUTO, ON or OFF, "
                      "not '${VOCDIST_CUDA}'")
elseif(VOCDIST_CUDA STREQUAL "OFF")
  message(STATUS "CUDA kernels: off (VOCDIST_CUDA=OFF)")
else()
  vocdist_check_nvcc(reason)
  if(reason STREQUAL "")
    message(STATUS "CUDA kernels: on (${VOCDIST_NVCC}, "
                   "architectures ${VOCDIST_CUDA_ARCHITECTURES})")
  elseif(VOCDIST_CUDA STREQUAL "ON")
    message(FATAL_ERROR "VOCDIST_CUDA=ON: ${reason}\n"
                        "install CUDA 12.8 or newer, or set CUDACXX; "
                        "VOCDIST_CUDA_ARCHITECTURES selects the devices")
  else()
    set(VOCDIST_NVCC "")
    message(STATUS "CUDA kernels: off (${reason})")
  endif()
endif()

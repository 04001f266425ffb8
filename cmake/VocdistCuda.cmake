# The CUDA backend is a separate plugin, which this version does not have yet.
# VOCDIST_CUDA: AUTO (build it if possible), ON (fail if not possible), OFF.
set(VOCDIST_CUDA AUTO CACHE STRING "CUDA backend: AUTO, ON or OFF")
set_property(CACHE VOCDIST_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT VOCDIST_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "VOCDIST_CUDA must be AUTO, ON or OFF, "
                      "not '${VOCDIST_CUDA}'")
elseif(VOCDIST_CUDA STREQUAL "ON")
  message(FATAL_ERROR "VOCDIST_CUDA=ON, but this version has no CUDA backend "
                      "yet; use -DVOCDIST_CUDA=AUTO")
endif()
message(STATUS "CUDA backend: off (not part of this version)")

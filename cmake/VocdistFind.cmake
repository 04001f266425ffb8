# Finds every library in the same way: in NAME_ROOT (CMake or environment
# variable) first, then in the system. All missing libraries are reported
# together, with the variable to set and the Debian package to install.
#
#   vocdist_find(NAME HEADER file [LIBRARY names...] [SUFFIX dir] PACKAGE deb)
#
# defines the target vocdist::NAME; without LIBRARY a header-only one.
set(VOCDIST_MISSING "")

function(vocdist_find name)
  cmake_parse_arguments(A "" "HEADER;SUFFIX;PACKAGE" "LIBRARY" ${ARGN})
  set(hints ${${name}_ROOT} $ENV{${name}_ROOT})
  find_path(${name}_INCLUDE ${A_HEADER} HINTS ${hints}
            PATH_SUFFIXES include/${A_SUFFIX} include ${A_SUFFIX})
  set(found ${${name}_INCLUDE})
  if(A_LIBRARY)
    find_library(${name}_LIBRARY NAMES ${A_LIBRARY} HINTS ${hints}
                 PATH_SUFFIXES lib lib64 lib/${A_SUFFIX}
                               ${CMAKE_LIBRARY_ARCHITECTURE}/${A_SUFFIX})
    if(NOT ${name}_LIBRARY)
      set(found FALSE)
    endif()
  endif()
  mark_as_advanced(${name}_INCLUDE ${name}_LIBRARY)
  if(NOT found)
    list(APPEND VOCDIST_MISSING
         "  ${name}: set ${name}_ROOT, or apt-get install ${A_PACKAGE}")
    set(VOCDIST_MISSING ${VOCDIST_MISSING} PARENT_SCOPE)
    return()
  endif()
  add_library(vocdist::${name} INTERFACE IMPORTED)
  set_target_properties(vocdist::${name} PROPERTIES
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${${name}_INCLUDE}"
    INTERFACE_INCLUDE_DIRECTORIES "${${name}_INCLUDE}"
    INTERFACE_LINK_LIBRARIES "${${name}_LIBRARY}")
endfunction()

function(vocdist_find_report)
  if(VOCDIST_MISSING)
    list(JOIN VOCDIST_MISSING "\n" lines)
    message(FATAL_ERROR "Libraries not found:\n${lines}\n"
            "scripts/install-deps.sh installs all of them on Debian and Ubuntu.")
  endif()
endfunction()

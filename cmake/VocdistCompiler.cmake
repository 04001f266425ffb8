# vocdist_compile(TARGET): the language rules of every target of ours.
#
# No fused multiply-add may be formed behind our back (-ffp-contract=off), and
# no fast-math: results are a function of the source and the instruction set.
function(vocdist_compile target)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  target_compile_options(${target} PRIVATE
    -ffp-contract=off -fno-fast-math
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wundef -Wswitch-enum -Wwrite-strings)
  if(VOCDIST_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(VOCDIST_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
      message(FATAL_ERROR "VOCDIST_FUZZ=ON needs clang: CC=clang cmake ...")
    endif()
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    target_link_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
  endif()
  if(VOCDIST_ASAN OR VOCDIST_FUZZ)
    target_compile_options(${target} PRIVATE
      -fsanitize=address,undefined -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
    # The stack of this check is not aligned for vectors of 64 bytes.
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PRIVATE --param=asan-use-after-return=0)
    endif()
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

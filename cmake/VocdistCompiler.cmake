# vocdist_compile(TARGET): the compile options of all our targets.
#
# -ffp-contract=off keeps the compiler from forming fused multiply-adds, and
# there is no fast-math: results depend on the source and the instruction set
# alone.
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
    # The fake stack of this check is not aligned for 64-byte vectors.
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PRIVATE --param=asan-use-after-return=0)
    endif()
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# How the code is compiled: the flavour (release, debug, asan, tsan, fuzz, coverage), warnings,
# hardening, the linker and the compiler cache. Flags for our own code live on the interface target
# keyturn_flags; flags that must reach every object (sanitizers, hardening) are global.

set(KEYTURN_FLAVOUR "release" CACHE STRING
    "release, debug, asan, tsan, fuzz or coverage")
set_property(CACHE KEYTURN_FLAVOUR PROPERTY STRINGS release debug asan tsan fuzz
             coverage)
if(NOT KEYTURN_FLAVOUR MATCHES "^(release|debug|asan|tsan|fuzz|coverage)$")
  message(FATAL_ERROR "KEYTURN_FLAVOUR is '${KEYTURN_FLAVOUR}'; "
                      "it can be release, debug, asan, tsan, fuzz or coverage")
endif()
if(NOT CMAKE_BUILD_TYPE)
  if(KEYTURN_FLAVOUR STREQUAL "debug")
    set(CMAKE_BUILD_TYPE Debug CACHE STRING "" FORCE)
  else()
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LINK_DEPENDS_NO_SHARED ON)

# Assertions of the libraries stay on (no NDEBUG): the distribution's own builds of them have it so
# too, and a broken invariant in a program that holds keys must stop it. Level 1 debug information
# is enough for a backtrace and costs little.
foreach(lang C CXX)
  set(CMAKE_${lang}_FLAGS_RELEASE "-O2 -g1")
  set(CMAKE_${lang}_FLAGS_RELWITHDEBINFO "-O2 -g")
  set(CMAKE_${lang}_FLAGS_DEBUG "-O0 -g")
endforeach()

include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C CXX)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(KEYTURN_FLAVOUR MATCHES "^(fuzz|coverage)$" AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "the ${KEYTURN_FLAVOUR} flavour needs clang: "
                      "use scripts/build ${KEYTURN_FLAVOUR}")
endif()

# --- Sanitizers -----------------------------------------------------------------------------------
set(KEYTURN_SANITIZED OFF)
if(KEYTURN_FLAVOUR STREQUAL "asan")
  set(kt_sanitize -fsanitize=address,undefined)
elseif(KEYTURN_FLAVOUR STREQUAL "tsan")
  set(kt_sanitize -fsanitize=thread)
elseif(KEYTURN_FLAVOUR STREQUAL "fuzz")
  set(kt_sanitize -fsanitize=fuzzer-no-link,address,undefined)
endif()
if(kt_sanitize)
  set(KEYTURN_SANITIZED ON)
  add_compile_definitions(KEYTURN_SANITIZED)
  foreach(lang C CXX)
    set(CMAKE_${lang}_FLAGS_RELEASE "-O1 -g1")
  endforeach()
  add_compile_options(${kt_sanitize} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(${kt_sanitize})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Headers of Protocol Buffers and abseil change the layout of their classes when they see a
    # sanitizer; the distribution's libraries were built without one. The instrumentation itself
    # does not depend on these macros.
    add_compile_options(-U__SANITIZE_THREAD__ -U__SANITIZE_ADDRESS__)
  endif()
endif()

# --- Coverage -------------------------------------------------------------------------------------
# Clang counts by the source's conditions, whatever the optimizer does with them; only what is
# measured is counted.
function(keyturn_counted target)
  if(KEYTURN_FLAVOUR STREQUAL "coverage")
    target_compile_options(${target} PRIVATE -fprofile-instr-generate -fcoverage-mapping)
    target_link_options(${target} PUBLIC -fprofile-instr-generate)
  endif()
endfunction()

# --- Hardening ------------------------------------------------------------------------------------
foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection)
  string(MAKE_C_IDENTIFIER "KEYTURN_HAS_${flag}" has)
  check_cxx_compiler_flag(${flag} ${has})
  if(${has})
    add_compile_options(${flag})
  endif()
endforeach()
# Fortify needs optimization, and would hide from the sanitizers what they look for. Some
# compilers define it themselves at another level, hence the -U.
if(NOT KEYTURN_SANITIZED AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(CMAKE_REQUIRED_FLAGS "-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -Werror")
  check_cxx_source_compiles("#include <features.h>
    #if __USE_FORTIFY_LEVEL < 3
    #error level 3 is not available
    #endif
    int main() { return 0; }" KEYTURN_HAS_FORTIFY_3)
  unset(CMAKE_REQUIRED_FLAGS)
  if(KEYTURN_HAS_FORTIFY_3)
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  else()
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  endif()
endif()
add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)

# --- Paths in the result --------------------------------------------------------------------------
# __FILE__ and debug information name files from the repository root: the same sources give the
# same bytes wherever they were built.
add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")

# --- Warnings, for our own code -------------------------------------------------------------------
add_library(keyturn_flags INTERFACE)
target_compile_options(keyturn_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion)
if(KEYTURN_WERROR)
  target_compile_options(keyturn_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # Locks are annotated (ABSL_GUARDED_BY); clang checks them.
  target_compile_options(keyturn_flags INTERFACE -Wthread-safety)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND KEYTURN_SANITIZED)
  # GCC 12 reports what only its own instrumentation made look uninitialized or restricted.
  target_compile_options(keyturn_flags INTERFACE
    -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlapping copies in `"text" + std::string` (GCC bug 105329).
  target_compile_options(keyturn_flags INTERFACE -Wno-restrict)
endif()
target_include_directories(keyturn_flags INTERFACE "${CMAKE_SOURCE_DIR}")
if(KEYTURN_FLAVOUR STREQUAL "tsan")
  # Every program, once: see the file.
  target_sources(keyturn_flags INTERFACE
    "$<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${CMAKE_SOURCE_DIR}/scripts/cmake/tsan_absl.cc>")
endif()
target_compile_definitions(keyturn_flags INTERFACE KEYTURN_VERSION="${PROJECT_VERSION}")

# --- Linker and compiler cache --------------------------------------------------------------------
if(NOT DEFINED KEYTURN_LINKER)
  foreach(linker lld gold)
    set(CMAKE_REQUIRED_LINK_OPTIONS "-fuse-ld=${linker}")
    check_cxx_source_compiles("int main() { return 0; }" KEYTURN_HAS_LINKER_${linker})
    unset(CMAKE_REQUIRED_LINK_OPTIONS)
    if(KEYTURN_HAS_LINKER_${linker})
      set(KEYTURN_LINKER ${linker} CACHE STRING "the linker given to -fuse-ld")
      break()
    endif()
  endforeach()
endif()
if(KEYTURN_LINKER)
  add_link_options("-fuse-ld=${KEYTURN_LINKER}")
endif()

find_program(KEYTURN_CCACHE ccache)
if(KEYTURN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths below the source tree count as relative, so that one checkout profits from another's work.
  set(kt_launcher "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" CCACHE_NOHASHDIR=1
      "${KEYTURN_CCACHE}")
  set(CMAKE_C_COMPILER_LAUNCHER ${kt_launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${kt_launcher})
endif()

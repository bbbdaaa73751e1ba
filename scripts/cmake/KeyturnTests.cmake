# SPDX-License-Identifier: Apache-2.0
# Tests. Unit tests are found by themselves: tests/unit/<room>/*.cc becomes the program unit_<room>,
# linked with that room and the fakes. The other folders of tests/ bring their own CMakeLists.txt,
# which use keyturn_test() and keyturn_fuzz(). Every test is one program and one ctest entry.
# Labels: unit, conformance, model, simulation, crash, fuzz, vectors, integration, cli, layers.

# The sources of a library and of tests are known by globs, so that adding a file is enough.
file(GLOB kt_fake_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/fakes/*.cc")
# Fakes are built without linking the rooms whose interfaces they implement: a test of a low room
# must not need the high ones. What a fake needs, the test that uses it links.
keyturn_part(NAME keyturn_fakes SOURCES ${kt_fake_sources}
             LIBS keyturn_base keyturn_grpc_proto kt_grpc kt_absl kt_json kt_gtest)

# Options for the sanitizers' runtime, for every test.
set(kt_test_environment
  "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:check_initialization_order=1:abort_on_error=0"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/scripts/cmake/lsan.supp:print_suppressions=0"
  "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/scripts/cmake/tsan.supp:ignore_noninstrumented_modules=1:second_deadlock_stack=1"
  "KEYTURN_BIN_DIR=${CMAKE_BINARY_DIR}/bin"
  "KEYTURN_SOURCE_DIR=${CMAKE_SOURCE_DIR}"
  "KEYTURN_PEERS_DIR=${CMAKE_SOURCE_DIR}/build/peers")

# keyturn_ctest(NAME n LABELS l... COMMAND c... [TIMEOUT seconds]): any command as a test.
function(keyturn_ctest)
  cmake_parse_arguments(arg "RUN_SERIAL" "NAME;TIMEOUT" "LABELS;COMMAND" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(KEYTURN_SANITIZED OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 4")
  endif()
  add_test(NAME ${arg_NAME} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${CMAKE_BINARY_DIR}")
  set_tests_properties(${arg_NAME} PROPERTIES
    LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} ENVIRONMENT "${kt_test_environment}")
  if(arg_RUN_SERIAL)
    set_tests_properties(${arg_NAME} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

# keyturn_test(NAME n LABELS l... SOURCES s... LIBS t... [ARGS a...] [TIMEOUT seconds]
#              [RUN_SERIAL] [NO_MAIN]): a GoogleTest program. NO_MAIN: it brings its own main().
function(keyturn_test)
  cmake_parse_arguments(arg "RUN_SERIAL;NO_MAIN" "NAME;TIMEOUT" "LABELS;SOURCES;LIBS;ARGS" ${ARGN})
  add_executable(${arg_NAME} ${arg_SOURCES})
  # First the C++ library itself: without optimization every fake has its own copy of some of that
  # library's templates, and the linker would take a fake, with all it needs, to get at them.
  target_link_libraries(${arg_NAME} PRIVATE stdc++)
  if(NOT arg_NO_MAIN)
    target_link_libraries(${arg_NAME} PRIVATE GTest::gmock_main)
  endif()
  target_link_libraries(${arg_NAME} PRIVATE kt_gtest keyturn_flags keyturn_fakes ${arg_LIBS})
  target_compile_definitions(${arg_NAME} PRIVATE KEYTURN_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                             KEYTURN_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  set(serial "")
  if(arg_RUN_SERIAL)
    set(serial RUN_SERIAL)
  endif()
  keyturn_ctest(NAME ${arg_NAME} LABELS ${arg_LABELS} TIMEOUT ${arg_TIMEOUT} ${serial}
                COMMAND ${arg_NAME} ${arg_ARGS})
endfunction()

# keyturn_fuzz(NAME n SOURCES s... LIBS t... [CORPUS dir]): a fuzz target, a file that defines
# LLVMFuzzerTestOneInput. With the fuzz flavour it is a libFuzzer program; with every other one a
# driver of ours feeds it the corpus and a fixed number of mutations of it. As a test it is brief.
function(keyturn_fuzz)
  cmake_parse_arguments(arg "" "NAME;CORPUS" "SOURCES;LIBS" ${ARGN})
  add_executable(${arg_NAME} ${arg_SOURCES})
  target_link_libraries(${arg_NAME} PRIVATE keyturn_flags ${arg_LIBS})
  if(KEYTURN_FLAVOUR STREQUAL "fuzz")
    target_link_options(${arg_NAME} PRIVATE -fsanitize=fuzzer)
    set(arguments -runs=20000 -max_total_time=20 -timeout=10 -rss_limit_mb=2048
        "-artifact_prefix=${CMAKE_BINARY_DIR}/")
    if(arg_CORPUS)
      # libFuzzer adds what it finds to its first directory: give it one of the build tree.
      file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/corpus/${arg_NAME}")
      list(APPEND arguments "${CMAKE_BINARY_DIR}/corpus/${arg_NAME}" "${arg_CORPUS}")
    endif()
  else()
    target_sources(${arg_NAME} PRIVATE "${CMAKE_SOURCE_DIR}/tests/fuzz/standalone_driver.cc")
    set(arguments ${arg_CORPUS})
  endif()
  keyturn_ctest(NAME ${arg_NAME} LABELS fuzz TIMEOUT 120 COMMAND ${arg_NAME} ${arguments})
endfunction()

file(GLOB kt_unit_folders CONFIGURE_DEPENDS LIST_DIRECTORIES true "${CMAKE_SOURCE_DIR}/tests/unit/*")
foreach(folder IN LISTS kt_unit_folders)
  get_filename_component(room "${folder}" NAME)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${folder}/*.cc")
  if(sources)
    set(libs kt_rapidcheck kt_json kt_microhttpd)
    if(room STREQUAL "fakes")
      list(PREPEND libs ${kt_rooms})
    elseif(TARGET keyturn_${room})
      list(PREPEND libs keyturn_${room})
    endif()
    if(room MATCHES "^(base|providers)$")
      list(APPEND libs keyturn_crypto)  # starts libsodium, which base hashes with
    endif()
    if(room STREQUAL "net")
      list(APPEND libs kt_ssl kt_crypto)  # a TLS server that wants certificates
    endif()
    keyturn_test(NAME unit_${room} LABELS unit SOURCES ${sources} LIBS ${libs})
  endif()
endforeach()

foreach(folder sandbox conformance simulation model crash fuzz vectors integration cli bench)
  file(GLOB found CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/${folder}/CMakeLists.txt")
  if(found)
    add_subdirectory("${CMAKE_SOURCE_DIR}/tests/${folder}" "${CMAKE_BINARY_DIR}/tests/${folder}")
  endif()
endforeach()

# The layers of the house are a test like any other.
find_program(KEYTURN_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT KEYTURN_PYTHON)
  find_program(KEYTURN_PYTHON NAMES python3 REQUIRED)
endif()
if(EXISTS "${CMAKE_SOURCE_DIR}/scripts/check_layers")
  keyturn_ctest(NAME layers LABELS layers
    COMMAND "${KEYTURN_PYTHON}" "${CMAKE_SOURCE_DIR}/scripts/check_layers")
  keyturn_ctest(NAME layers_self_test LABELS layers
    COMMAND "${KEYTURN_PYTHON}" "${CMAKE_SOURCE_DIR}/scripts/check_layers" --self-test)
endif()

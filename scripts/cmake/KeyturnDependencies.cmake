# SPDX-License-Identifier: Apache-2.0
# Every third-party library, found once and given one name of ours (kt_*), so that the rest of the
# build does not care whether a distribution ships a CMake package or a pkg-config file.
# scripts/packages installs all of them on Debian 12.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# Newer releases of Protocol Buffers carry their abseil dependencies in a CMake package; the one in
# Debian 12 has only what CMake's own module finds.
find_package(Protobuf CONFIG QUIET)
if(NOT Protobuf_FOUND)
  find_package(Protobuf MODULE REQUIRED)
endif()
if(TARGET protobuf::protoc)
  set(KEYTURN_PROTOC $<TARGET_FILE:protobuf::protoc>)
else()
  find_program(KEYTURN_PROTOC protoc REQUIRED)
endif()
find_package(gRPC CONFIG REQUIRED)
find_program(KEYTURN_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_package(absl CONFIG REQUIRED)

add_library(kt_absl INTERFACE)
# Newer abseil drops some of these (optional) and brings others (log): link what is there.
foreach(part base core_headers cleanup status statusor strings str_format synchronization time span
        cord hash random_random flat_hash_map flat_hash_set node_hash_map node_hash_set btree
        fixed_array inlined_vector function_ref any_invocable bind_front memory optional log check)
  if(TARGET absl::${part})
    target_link_libraries(kt_absl INTERFACE absl::${part})
  endif()
endforeach()

add_library(kt_protobuf INTERFACE)
target_link_libraries(kt_protobuf INTERFACE protobuf::libprotobuf)

add_library(kt_grpc INTERFACE)
target_link_libraries(kt_grpc INTERFACE gRPC::grpc++ protobuf::libprotobuf)
add_library(kt_grpc_reflection INTERFACE)
# The reflection library registers itself through a global object: keep it though nothing names it.
target_link_libraries(kt_grpc_reflection INTERFACE
  -Wl,--push-state,--no-as-needed gRPC::grpc++_reflection -Wl,--pop-state kt_grpc)

function(kt_pkg_config name)
  string(TOUPPER "KT_PKG_${name}" prefix)
  pkg_check_modules(${prefix} REQUIRED IMPORTED_TARGET ${ARGN})
  add_library(kt_${name} INTERFACE)
  target_link_libraries(kt_${name} INTERFACE PkgConfig::${prefix})
endfunction()
kt_pkg_config(sodium libsodium>=1.0.18)
kt_pkg_config(sqlite sqlite3>=3.37)
kt_pkg_config(curl libcurl>=7.85)
kt_pkg_config(systemd libsystemd)
kt_pkg_config(crypto libcrypto>=3.0)
kt_pkg_config(ssl libssl>=3.0)  # tests only: libcurl brings its own for the agent
kt_pkg_config(pugixml pugixml)
kt_pkg_config(microhttpd libmicrohttpd)

find_package(nlohmann_json 3.9 CONFIG REQUIRED)
add_library(kt_json INTERFACE)
target_link_libraries(kt_json INTERFACE nlohmann_json::nlohmann_json)

find_package(yaml-cpp CONFIG REQUIRED)
add_library(kt_yaml INTERFACE)
if(TARGET yaml-cpp::yaml-cpp)
  target_link_libraries(kt_yaml INTERFACE yaml-cpp::yaml-cpp)
else()
  target_link_libraries(kt_yaml INTERFACE yaml-cpp)
endif()

find_package(CLI11 CONFIG REQUIRED)
add_library(kt_cli11 INTERFACE)
target_link_libraries(kt_cli11 INTERFACE CLI11::CLI11)

find_package(spdlog CONFIG REQUIRED)
add_library(kt_spdlog INTERFACE)
target_link_libraries(kt_spdlog INTERFACE spdlog::spdlog)

if(KEYTURN_TESTS)
  find_package(GTest CONFIG REQUIRED)
  find_package(benchmark CONFIG REQUIRED)
  find_package(rapidcheck CONFIG REQUIRED)
  add_library(kt_gtest INTERFACE)
  target_link_libraries(kt_gtest INTERFACE GTest::gmock GTest::gtest)
  add_library(kt_rapidcheck INTERFACE)
  target_link_libraries(kt_rapidcheck INTERFACE rapidcheck)
  if(TARGET rapidcheck_gtest)
    target_link_libraries(kt_rapidcheck INTERFACE rapidcheck_gtest)
  endif()
  add_library(kt_benchmark INTERFACE)
  target_link_libraries(kt_benchmark INTERFACE benchmark::benchmark)
endif()

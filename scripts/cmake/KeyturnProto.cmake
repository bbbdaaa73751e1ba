# SPDX-License-Identifier: Apache-2.0
# Generates C++ from proto/ into the build directory and makes two libraries of it:
#   keyturn_proto       the messages of every .proto
#   keyturn_grpc_proto  the service stubs of those that declare a service
# Both are compiled without our warnings and included as system headers. The include root of the
# generated files is the import root: #include "keyturn/v1/credentials.pb.h".

set(kt_proto_root "${CMAKE_SOURCE_DIR}/proto")
set(kt_proto_out "${CMAKE_BINARY_DIR}/proto")
file(MAKE_DIRECTORY "${kt_proto_out}")
file(GLOB_RECURSE kt_protos CONFIGURE_DEPENDS "${kt_proto_root}/*.proto")

set(kt_message_sources "")
set(kt_service_sources "")
foreach(proto IN LISTS kt_protos)
  file(RELATIVE_PATH name "${kt_proto_root}" "${proto}")
  string(REGEX REPLACE "\\.proto$" "" stem "${name}")
  set(outputs "${kt_proto_out}/${stem}.pb.cc" "${kt_proto_out}/${stem}.pb.h")
  set(arguments "--cpp_out=${kt_proto_out}")
  list(APPEND kt_message_sources "${kt_proto_out}/${stem}.pb.cc")

  # Whether a proto declares a service decides which files appear: configure again if it changes.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${proto}")
  file(STRINGS "${proto}" services REGEX "^service [A-Za-z]+")
  if(services)
    list(APPEND outputs "${kt_proto_out}/${stem}.grpc.pb.cc" "${kt_proto_out}/${stem}.grpc.pb.h")
    list(APPEND arguments "--grpc_out=${kt_proto_out}"
         "--plugin=protoc-gen-grpc=${KEYTURN_GRPC_CPP_PLUGIN}")
    list(APPEND kt_service_sources "${kt_proto_out}/${stem}.grpc.pb.cc")
  endif()

  add_custom_command(
    OUTPUT ${outputs}
    COMMAND ${KEYTURN_PROTOC} ${arguments} "-I${kt_proto_root}" "${proto}"
    DEPENDS ${kt_protos}
    COMMENT "Generating C++ from proto/${name}"
    VERBATIM)
endforeach()

# Only the generation, for tools that read our sources without compiling everything first.
set(kt_generated "")
foreach(source IN LISTS kt_message_sources kt_service_sources)
  string(REGEX REPLACE "\\.cc$" ".h" header "${source}")
  list(APPEND kt_generated "${header}")
endforeach()
add_custom_target(keyturn_generated DEPENDS ${kt_generated})

function(kt_generated_library name)
  if(ARGN)
    add_library(${name} STATIC ${ARGN})
    target_compile_options(${name} PRIVATE -w)
    set(scope PUBLIC)
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${name} SYSTEM ${scope} "${kt_proto_out}")
  target_link_libraries(${name} ${scope} kt_protobuf)
endfunction()

kt_generated_library(keyturn_proto ${kt_message_sources})
kt_generated_library(keyturn_grpc_proto ${kt_service_sources})
get_target_property(kt_type keyturn_grpc_proto TYPE)
if(kt_type STREQUAL "STATIC_LIBRARY")
  target_link_libraries(keyturn_grpc_proto PUBLIC keyturn_proto kt_grpc)
else()
  target_link_libraries(keyturn_grpc_proto INTERFACE keyturn_proto kt_grpc)
endif()

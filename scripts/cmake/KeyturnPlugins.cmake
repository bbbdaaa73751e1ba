# SPDX-License-Identifier: Apache-2.0
# The plugins of deploy/plugins: for each folder NAME with one .py file, one executable archive
# libexec/keyturn/plugins/NAME, in the build directory as it will be installed. It holds the plugin,
# deploy/plugins/library and the messages of keyturn.plugin.v1.

find_program(KEYTURN_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT KEYTURN_PYTHON)
  find_program(KEYTURN_PYTHON NAMES python3 REQUIRED)
endif()

set(kt_plugin_modules "${CMAKE_BINARY_DIR}/plugin_modules")
set(kt_plugin_message "${kt_plugin_modules}/keyturn/plugin/v1/provider_pb2.py")
set(kt_plugin_library "${CMAKE_SOURCE_DIR}/deploy/plugins/library")
file(MAKE_DIRECTORY "${kt_plugin_modules}")
add_custom_command(OUTPUT "${kt_plugin_message}"
  COMMAND ${KEYTURN_PROTOC} "--python_out=${kt_plugin_modules}" "-I${kt_proto_root}"
          "${kt_proto_root}/keyturn/plugin/v1/provider.proto"
  DEPENDS "${kt_proto_root}/keyturn/plugin/v1/provider.proto"
  COMMENT "Generating Python from proto/keyturn/plugin/v1/provider.proto" VERBATIM)

set(kt_plugins "")
file(GLOB kt_plugin_programs CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/deploy/plugins/*/*.py")
file(GLOB kt_plugin_library_files CONFIGURE_DEPENDS "${kt_plugin_library}/*.py")
list(REMOVE_ITEM kt_plugin_programs ${kt_plugin_library_files})
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/libexec/keyturn/plugins")
foreach(program IN LISTS kt_plugin_programs)
  get_filename_component(folder "${program}" DIRECTORY)
  get_filename_component(name "${folder}" NAME)
  set(archive "${CMAKE_BINARY_DIR}/libexec/keyturn/plugins/${name}")
  add_custom_command(OUTPUT "${archive}"
    COMMAND "${KEYTURN_PYTHON}" "${CMAKE_SOURCE_DIR}/scripts/plugin_archive" "${archive}"
            "${program}" "${kt_plugin_library}" "${kt_plugin_modules}"
    DEPENDS "${program}" ${kt_plugin_library_files} "${kt_plugin_message}"
            "${CMAKE_SOURCE_DIR}/scripts/plugin_archive"
    COMMENT "Packing the plugin ${name}" VERBATIM)
  list(APPEND kt_plugins "${archive}")
endforeach()
add_custom_target(keyturn_plugins ALL DEPENDS ${kt_plugins})
if(kt_plugins)
  install(PROGRAMS ${kt_plugins} DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/keyturn/plugins")
endif()

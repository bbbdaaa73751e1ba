# SPDX-License-Identifier: Apache-2.0
# One static library per room of agent/, the composition root, the client, and the two programs.
# What a room links is what the layers table lets it include (scripts/check_layers checks the
# includes themselves). A part without sources is an interface library, a program without a
# main.cc is left out.

# keyturn_part(NAME n SOURCES ... LIBS ...): a library of our own code.
function(keyturn_part)
  cmake_parse_arguments(arg "" "NAME" "SOURCES;LIBS" ${ARGN})
  if(arg_SOURCES)
    add_library(${arg_NAME} STATIC ${arg_SOURCES})
    target_link_libraries(${arg_NAME} PUBLIC keyturn_flags ${arg_LIBS})
  else()
    add_library(${arg_NAME} INTERFACE)
    target_link_libraries(${arg_NAME} INTERFACE keyturn_flags ${arg_LIBS})
  endif()
endfunction()

# keyturn_room(NAME LIBS...): agent/NAME/**/*.cc as keyturn_NAME.
function(keyturn_room name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/agent/${name}/*.cc")
  keyturn_part(NAME keyturn_${name} SOURCES ${sources} LIBS ${ARGN})
endfunction()

set(kt_ground keyturn_observe keyturn_base)  # what every room may use
keyturn_room(base       keyturn_proto kt_absl kt_sodium kt_yaml Threads::Threads)
keyturn_room(observe    keyturn_base kt_spdlog kt_systemd kt_json)
keyturn_room(crypto     ${kt_ground} kt_sodium kt_json)
keyturn_room(net        ${kt_ground} kt_curl)
keyturn_room(audit      ${kt_ground} kt_json)
keyturn_room(store      keyturn_crypto ${kt_ground} keyturn_proto kt_sqlite)
keyturn_room(providers  keyturn_net ${kt_ground} keyturn_grpc_proto kt_grpc kt_json kt_crypto
                        kt_pugixml)
keyturn_room(lifecycle  keyturn_audit keyturn_providers keyturn_store ${kt_ground} kt_json)
keyturn_room(credential keyturn_lifecycle keyturn_store ${kt_ground} keyturn_proto)
keyturn_room(authn      ${kt_ground})
keyturn_room(authz      keyturn_authn ${kt_ground} keyturn_proto)
keyturn_room(api        keyturn_audit keyturn_authn keyturn_authz keyturn_credential
                        keyturn_lifecycle ${kt_ground} keyturn_grpc_proto kt_grpc
                        kt_grpc_reflection kt_json)
keyturn_counted(keyturn_lifecycle)
set(KEYTURN_ROOMS base observe crypto net audit store providers lifecycle credential authn authz
                  api)

# Where the installed recipes and presets are; a program finds those of its own tree beside itself
# (bin/../share/keyturn/recipes), so a build directory works like an installation.
set(KEYTURN_RECIPES_SUBDIR "${CMAKE_INSTALL_DATADIR}/keyturn/recipes")
set(kt_recipe_definitions
  KEYTURN_RECIPES_DIR="${CMAKE_INSTALL_FULL_DATADIR}/keyturn/recipes"
  KEYTURN_PRESETS_DIR="${CMAKE_INSTALL_FULL_DATADIR}/keyturn/presets"
  KEYTURN_CONFIG_DIR="${CMAKE_INSTALL_FULL_SYSCONFDIR}/keyturn")

file(GLOB kt_agent_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/agent/*.cc")
list(FILTER kt_agent_sources EXCLUDE REGEX "/main\\.cc$")
set(kt_rooms "")
foreach(room api authz authn credential lifecycle providers store crypto audit net observe base)
  list(APPEND kt_rooms keyturn_${room})
endforeach()
keyturn_part(NAME keyturn_agent SOURCES ${kt_agent_sources} LIBS ${kt_rooms} kt_cli11)
foreach(part keyturn_agent keyturn_providers)
  get_target_property(type ${part} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    target_compile_definitions(${part} PRIVATE ${kt_recipe_definitions})
  endif()
endforeach()

file(GLOB_RECURSE kt_client_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/client/lib/*.cc")
keyturn_part(NAME keyturn_client SOURCES ${kt_client_sources}
             LIBS keyturn_grpc_proto kt_grpc kt_absl Threads::Threads)
if(kt_client_sources)
  target_include_directories(keyturn_client PUBLIC "${CMAKE_SOURCE_DIR}/client/include")
else()
  target_include_directories(keyturn_client INTERFACE "${CMAKE_SOURCE_DIR}/client/include")
endif()

file(GLOB_RECURSE kt_cli_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/client/cli/*.cc")
list(FILTER kt_cli_sources EXCLUDE REGEX "/main\\.cc$")
keyturn_part(NAME keyturn_cli SOURCES ${kt_cli_sources}
             LIBS keyturn_client kt_cli11 kt_json kt_microhttpd)

# keyturn_program(NAME MAIN LIB): a program, when its main file exists.
function(keyturn_program name main)
  file(GLOB main_file CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${main}")
  if(main_file)
    add_executable(${name} "${main_file}")
    target_link_libraries(${name} PRIVATE ${ARGN})
    target_compile_definitions(${name} PRIVATE ${kt_recipe_definitions})
  endif()
endfunction()
keyturn_program(keyturnd agent/main.cc keyturn_agent)
keyturn_program(keyturn client/cli/main.cc keyturn_cli)

# The recipes and presets, laid out in the build directory as they will be installed.
file(GLOB kt_recipes CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/agent/providers/recipes/*.yaml"
     "${CMAKE_SOURCE_DIR}/agent/providers/presets/*.yaml")
set(kt_staged "")
foreach(recipe IN LISTS kt_recipes)
  file(RELATIVE_PATH file "${CMAKE_SOURCE_DIR}/agent/providers" "${recipe}")
  set(staged "${CMAKE_BINARY_DIR}/share/keyturn/${file}")
  add_custom_command(OUTPUT "${staged}"
    COMMAND ${CMAKE_COMMAND} -E copy_if_different "${recipe}" "${staged}"
    DEPENDS "${recipe}" COMMENT "" VERBATIM)
  list(APPEND kt_staged "${staged}")
endforeach()
add_custom_target(keyturn_recipes ALL DEPENDS ${kt_staged})
if(TARGET keyturnd)
  add_dependencies(keyturnd keyturn_recipes)
endif()

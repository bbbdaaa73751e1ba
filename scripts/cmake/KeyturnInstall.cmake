# SPDX-License-Identifier: Apache-2.0
# `cmake --install`: programs, recipes, presets, unit file, man pages, completions and the example
# configuration, where the file system hierarchy wants them (GNUInstallDirs).

foreach(program keyturnd keyturn)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  endif()
endforeach()

# kt_install(GLOB DESTINATION): the files of the source tree that match, if any do.
function(kt_install pattern destination)
  file(GLOB files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${pattern}")
  if(files)
    install(FILES ${files} DESTINATION "${destination}" ${ARGN})
  endif()
endfunction()

kt_install("agent/providers/recipes/*.yaml" "${CMAKE_INSTALL_DATADIR}/keyturn/recipes")
kt_install("agent/providers/presets/*.yaml" "${CMAKE_INSTALL_DATADIR}/keyturn/presets")
kt_install("deploy/man/*.1" "${CMAKE_INSTALL_MANDIR}/man1")
kt_install("deploy/man/*.5" "${CMAKE_INSTALL_MANDIR}/man5")
kt_install("deploy/man/*.8" "${CMAKE_INSTALL_MANDIR}/man8")
kt_install("deploy/systemd/keyturn.sysusers" "lib/sysusers.d" RENAME keyturn.conf)
kt_install("deploy/completions/keyturn.bash"
           "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME keyturn)
kt_install("deploy/completions/_keyturn" "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
# An installation over an older one keeps what people have written there.
install(CODE "
  set(kt_conf \"\$ENV{DESTDIR}${CMAKE_INSTALL_FULL_SYSCONFDIR}/keyturn/keyturnd.yaml\")
  if(NOT EXISTS \"\${kt_conf}\")
    file(INSTALL DESTINATION \"${CMAKE_INSTALL_FULL_SYSCONFDIR}/keyturn\" TYPE FILE
         FILES \"${CMAKE_SOURCE_DIR}/deploy/keyturnd.yaml\")
  endif()")
kt_install("proto/keyturn/v1/*.proto" "${CMAKE_INSTALL_DATADIR}/keyturn/proto/keyturn/v1")
kt_install("proto/keyturn/plugin/v1/*.proto"
           "${CMAKE_INSTALL_DATADIR}/keyturn/proto/keyturn/plugin/v1")

# The unit names the program by its full path, which depends on the prefix.
if(EXISTS "${CMAKE_SOURCE_DIR}/deploy/systemd/keyturnd.service")
  set(kt_unit "${CMAKE_BINARY_DIR}/keyturnd.service")
  file(READ "${CMAKE_SOURCE_DIR}/deploy/systemd/keyturnd.service" text)
  string(REPLACE "/usr/bin/keyturnd" "${CMAKE_INSTALL_FULL_BINDIR}/keyturnd" text "${text}")
  string(REPLACE "/etc/keyturn" "${CMAKE_INSTALL_FULL_SYSCONFDIR}/keyturn" text "${text}")
  file(GENERATE OUTPUT "${kt_unit}" CONTENT "${text}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
               "${CMAKE_SOURCE_DIR}/deploy/systemd/keyturnd.service")
  install(FILES "${kt_unit}" DESTINATION "lib/systemd/system")
endif()

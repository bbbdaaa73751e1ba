// SPDX-License-Identifier: Apache-2.0
// Which socket a command uses when the user did not say. A development agent's socket is used only
// when nobody else could have put it there. Looks at the file system, never connects.
#pragma once

#include <sys/types.h>

#include <string>

namespace keyturn::cli {

// What the choice depends on; FromProcess() fills it, tests give their own.
struct SocketPlaces {
  // What --socket and --services-socket said; empty when not given.
  std::string admin_option;
  std::string services_option;
  // $KEYTURN_ADMIN_SOCKET, $KEYTURN_SOCKET, $XDG_RUNTIME_DIR.
  std::string admin_environment;
  std::string services_environment;
  std::string runtime_directory;
  std::string system_directory = "/run/keyturn";
  std::string temporary_directory = "/tmp";
  uid_t uid = 0;

  static SocketPlaces FromProcess();
};

// --socket, $KEYTURN_ADMIN_SOCKET, the system's agent when its admin socket is open to the user, a
// development agent of the user's own, and else the system's.
std::string ChooseAdminSocket(const SocketPlaces& places);

// For what every user may do: --services-socket, $KEYTURN_SOCKET, the admin socket when it was
// named or is open to the user, and else the services socket beside it.
std::string ChooseServicesSocket(const SocketPlaces& places);

}  // namespace keyturn::cli

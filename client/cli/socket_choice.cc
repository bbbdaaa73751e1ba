// SPDX-License-Identifier: Apache-2.0
// The order of places, and the checks on a development agent's directory.
#include "client/cli/socket_choice.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace keyturn::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = secure_getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool IsUsableSocket(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) &&
         access(path.c_str(), R_OK | W_OK) == 0;
}

// A directory that the user made for itself: nobody else could have put a socket into it.
bool IsPrivateDirectory(const std::string& path, uid_t uid) {
  struct stat info = {};
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == uid &&
         (info.st_mode & 07777) == 0700;
}

// The directory of the user's development agent, or nothing.
std::string DevelopmentDirectory(const SocketPlaces& places) {
  std::string candidates[2];
  if (!places.runtime_directory.empty()) {
    candidates[0] = absl::StrCat(places.runtime_directory, "/keyturn-dev");
  }
  candidates[1] = absl::StrCat(places.temporary_directory, "/keyturn-dev-", places.uid);
  for (const std::string& directory : candidates) {
    if (!directory.empty() && IsPrivateDirectory(directory, places.uid) &&
        IsUsableSocket(absl::StrCat(directory, "/admin.sock"))) {
      return directory;
    }
  }
  return "";
}

}  // namespace

SocketPlaces SocketPlaces::FromProcess() {
  SocketPlaces places;
  places.admin_environment = Environment("KEYTURN_ADMIN_SOCKET");
  places.services_environment = Environment("KEYTURN_SOCKET");
  places.runtime_directory = Environment("XDG_RUNTIME_DIR");
  places.uid = geteuid();
  return places;
}

std::string ChooseAdminSocket(const SocketPlaces& places) {
  if (!places.admin_option.empty()) return places.admin_option;
  if (!places.admin_environment.empty()) return places.admin_environment;
  std::string system = absl::StrCat(places.system_directory, "/admin.sock");
  if (IsUsableSocket(system)) return system;
  const std::string development = DevelopmentDirectory(places);
  return development.empty() ? system : absl::StrCat(development, "/admin.sock");
}

std::string ChooseServicesSocket(const SocketPlaces& places) {
  if (!places.services_option.empty()) return places.services_option;
  if (!places.admin_option.empty()) return places.admin_option;
  if (!places.services_environment.empty()) return places.services_environment;
  std::string admin = ChooseAdminSocket(places);
  if (!places.admin_environment.empty() || IsUsableSocket(admin)) return admin;
  return absl::StrCat(admin.substr(0, admin.rfind('/')), "/keyturn.sock");
}

}  // namespace keyturn::cli

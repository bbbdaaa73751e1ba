// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/plugin_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "agent/base/file_io.h"

namespace keyturn::providers {
namespace {

absl::Status Failed(absl::string_view operation, const std::string& path) {
  const int error = errno;
  return absl::ErrnoToStatus(error, absl::StrCat(operation, " ", path));
}

}  // namespace

absl::StatusOr<std::string> MakePluginDirectory(const std::string& parent, const std::string& name,
                                                uid_t uid, gid_t gid) {
  // Others may pass through it, to what is theirs, and see nothing.
  if (absl::Status s = base::MakeDirectory(parent, 0711); !s.ok()) return s;
  if (absl::Status s = base::CheckPrivate(parent, 0066); !s.ok()) return s;
  if (chmod(parent.c_str(), 0711) != 0) return Failed("chmod", parent);
  const std::string path = absl::StrCat(parent, "/", name);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Failed("mkdir", path);
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return Failed("open", path);
  const absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat info {};
  if (fstat(fd, &info) != 0) return Failed("stat", path);
  if ((info.st_uid != uid || info.st_gid != gid) && fchown(fd, uid, gid) != 0) {
    return Failed("chown", path);
  }
  if (fchmod(fd, 0700) != 0) return Failed("chmod", path);
  if (unlinkat(fd, kPluginSocketName, 0) != 0 && errno != ENOENT) return Failed("unlink in", path);
  return path;
}

absl::StatusOr<int> ConnectToPlugin(const std::string& directory, pid_t pid, uid_t uid) {
  const int directory_fd = open(directory.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory_fd < 0) return Failed("open", directory);
  const absl::Cleanup close_directory = [directory_fd] { close(directory_fd); };
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed("socket for", directory);
  absl::Cleanup close_fd = [fd] { close(fd); };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // By way of the descriptor, since the path itself may be too long for an address.
  std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory_fd,
                kPluginSocketName);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError("nobody listens yet");
  }
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return Failed("SO_PEERCRED in", directory);
  }
  if (peer.pid != pid || peer.uid != uid) {
    return absl::PermissionDeniedError(
        absl::StrCat("the socket is served by process ", peer.pid, " of uid ", peer.uid,
                     ", and the plugin is process ", pid, " of uid ", uid));
  }
  std::move(close_fd).Cancel();
  return fd;
}

}  // namespace keyturn::providers

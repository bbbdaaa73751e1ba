// SPDX-License-Identifier: Apache-2.0
// The order bind, chmod, listen is what makes the mode safe without touching the process's umask:
// until listen every connect is refused, whatever the file's mode.
#include "agent/api/listening_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace keyturn::api {
namespace {

// A full backlog fails clients at once, so it is as long as the kernel lets it be (somaxconn).
constexpr int kBacklog = 4096;

absl::Status OsError(absl::string_view what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat(what, " socket ", path));
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Removes what a dead process left at `path`.
absl::Status ClearPath(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : OsError("look at", path);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " exists and is not a socket; move it away or configure another path"));
  }
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return OsError("probe", path);
  const int result = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  close(probe);
  // EAGAIN: a listener with a full backlog.
  if (result != 0 && error == ECONNREFUSED) {
    return unlink(path.c_str()) == 0 || errno == ENOENT ? absl::OkStatus()
                                                        : OsError("remove", path);
  }
  return absl::FailedPreconditionError(absl::StrCat("another process listens on ", path,
                                                    "; stop it first or configure another path"));
}

}  // namespace

absl::StatusOr<ListeningSocket> ListeningSocket::Open(const std::string& path, mode_t mode) {
  constexpr size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty()) return absl::InvalidArgumentError("a socket path is empty");
  if (path.size() > kPathMax) {
    return absl::InvalidArgumentError(absl::StrCat("socket path ", path, " has ", path.size(),
                                                   " bytes; the system allows ", kPathMax));
  }
  if (path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("a socket path holds a zero byte");
  }
  const sockaddr_un address = AddressOf(path);
  if (absl::Status cleared = ClearPath(path, address); !cleared.ok()) return cleared;

  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return OsError("create", path);
  ListeningSocket opened(fd, path);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return OsError("bind", path);
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return OsError("look at", path);
  opened.device_ = info.st_dev;
  opened.inode_ = info.st_ino;
  if (chmod(path.c_str(), mode) != 0) return OsError("set the mode of", path);
  if (listen(fd, kBacklog) != 0) return OsError("listen on", path);
  return opened;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      device_(other.device_),
      inode_(other.inode_) {}

void ListeningSocket::Close() {
  if (fd_ < 0) return;
  struct stat info {};
  if (inode_ != 0 && lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    unlink(path_.c_str());
  }
  close(std::exchange(fd_, -1));
}

}  // namespace keyturn::api

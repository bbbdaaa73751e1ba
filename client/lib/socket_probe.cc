// SPDX-License-Identifier: Apache-2.0
// One non-blocking connect() and a reading of its errno.
#include "client/lib/socket_probe.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace keyturn::client {

SocketState ProbeSocket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return SocketState::kBroken;
  memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return SocketState::kBroken;
  const int result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  close(fd);
  if (result == 0) return SocketState::kListening;
  switch (error) {
    case EAGAIN:
    case EINPROGRESS:
      return SocketState::kBusy;
    case ENOENT:
    case ENOTDIR:
      return SocketState::kAbsent;
    case EACCES:
    case EPERM:
      return SocketState::kDenied;
    case ECONNREFUSED:
      return SocketState::kNobodyListens;
    default:
      return SocketState::kBroken;
  }
}

absl::string_view Describe(SocketState state) {
  switch (state) {
    case SocketState::kListening:
      return "it ends the connections that it takes";
    case SocketState::kBusy:
      return "the agent is busy: its queue of connections is full";
    case SocketState::kAbsent:
      return "there is no such socket";
    case SocketState::kDenied:
      return "permission denied";
    case SocketState::kNobodyListens:
      return "nobody listens there any more";
    case SocketState::kBroken:
      break;
  }
  return "it cannot be used as a socket";
}

}  // namespace keyturn::client

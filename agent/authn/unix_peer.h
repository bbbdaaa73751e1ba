// SPDX-License-Identifier: Apache-2.0
// Who is at the other end of a connected AF_UNIX socket, as the kernel recorded it at connect time.
// The identity is the connector's for as long as the socket lives, also when the connector passed
// the socket on or died: so the process itself is held by a pidfd, and whoever serves the socket
// closes it when that process has gone. UserNames belongs to one thread; the rest is thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "agent/authn/principal.h"
#include "agent/base/clock.h"

namespace keyturn::authn {

// What the kernel gives to those whose uid has no mapping here. It can stand for anybody, so it is
// nobody: never let in.
inline constexpr uid_t kOverflowUid = 65534;

// The peer's process. Readable (poll) when the process has exited; invalid when the kernel could
// not name it, as for a peer in another pid namespace.
class PeerProcess {
 public:
  PeerProcess() = default;
  explicit PeerProcess(int pidfd) : pidfd_(pidfd) {}
  PeerProcess(PeerProcess&& other) noexcept : pidfd_(std::exchange(other.pidfd_, -1)) {}
  PeerProcess& operator=(PeerProcess&& other) noexcept;
  ~PeerProcess();

  bool valid() const { return pidfd_ >= 0; }
  int pidfd() const { return pidfd_; }

 private:
  int pidfd_ = -1;
};

struct UnixPeer {
  Principal principal;  // `user` and `admin_socket` are for the caller to fill
  PeerProcess process;
};

// PERMISSION_DENIED for the overflow uid; UNAUTHENTICATED when the peer has exited already;
// INTERNAL when the kernel does not answer for this socket.
absl::StatusOr<UnixPeer> IdentifyUnixPeer(int connected_fd);

// Names of uids, remembered for a while: the look-up may go to a directory server and connections
// come many a second.
class UserNames {
 public:
  explicit UserNames(const base::Clock& clock) : clock_(clock) {}
  // Empty when the uid has no name.
  const std::string& Of(uid_t uid);

 private:
  struct Known {
    std::string name;
    base::BootTime until;
  };
  const base::Clock& clock_;
  absl::flat_hash_map<uid_t, Known> known_;  // bounded: emptied when full
};

}  // namespace keyturn::authn

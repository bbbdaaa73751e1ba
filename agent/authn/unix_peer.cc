// SPDX-License-Identifier: Apache-2.0
// Implements unix_peer.h with SO_PEERCRED, SO_PEERGROUPS and SO_PEERPIDFD (Linux 6.5). Where the
// last is missing the process is opened by its number instead: if that number has a new owner by
// then, the wrong process is watched, which can only end a connection at the wrong time. Who the
// caller is never depends on it.
#include "agent/authn/unix_peer.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace keyturn::authn {
namespace {

#ifdef SO_PEERPIDFD
constexpr int kPeerPidfdOption = SO_PEERPIDFD;
#else
constexpr int kPeerPidfdOption = 77;
#endif

// The kernel's own bound on supplementary groups.
constexpr size_t kGroupsMax = 65536;
constexpr size_t kKnownMax = 1024;
constexpr absl::Duration kKnownFor = absl::Minutes(1);

absl::Status Failed(const char* option) {
  return absl::InternalError(
      absl::StrCat("getsockopt ", option, ": ", std::generic_category().message(errno)));
}

absl::Status Gone() { return absl::UnauthenticatedError("the peer has exited"); }

absl::Status ReadGroups(int fd, std::vector<gid_t>& groups) {
  groups.resize(32);
  for (int attempt = 0; attempt < 2; ++attempt) {
    socklen_t bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0) {
      groups.resize(bytes / sizeof(gid_t));
      return absl::OkStatus();
    }
    // ERANGE says in `bytes` how much there is.
    if (errno != ERANGE || bytes / sizeof(gid_t) > kGroupsMax) break;
    groups.resize(bytes / sizeof(gid_t));
  }
  return Failed("SO_PEERGROUPS");
}

absl::StatusOr<PeerProcess> HoldProcess(int fd, pid_t pid) {
  int pidfd = -1;
  socklen_t size = sizeof(pidfd);
  if (getsockopt(fd, SOL_SOCKET, kPeerPidfdOption, &pidfd, &size) == 0) return PeerProcess(pidfd);
  if (pid == 0) return PeerProcess();  // of another pid namespace: has no number here
  if (errno != ENOPROTOOPT) return Gone();
  const long opened = syscall(SYS_pidfd_open, pid, 0);
  if (opened >= 0) return PeerProcess(static_cast<int>(opened));
  if (errno == ESRCH) return Gone();
  return PeerProcess();
}

std::string LookUp(uid_t uid) {
  std::vector<char> buffer(1024);
  passwd entry{};
  passwd* found = nullptr;
  int error = 0;
  while ((error = getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found)) == ERANGE &&
         buffer.size() < 1024 * 1024) {
    buffer.resize(buffer.size() * 2);
  }
  if (error != 0 || found == nullptr) return "";
  std::string name = found->pw_name;
  // A name goes into `unix:uid=..,user=..`: keep it one word there.
  for (char& c : name) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)) || c == ',' || c == '=') c = '?';
  }
  return name;
}

}  // namespace

PeerProcess& PeerProcess::operator=(PeerProcess&& other) noexcept {
  std::swap(pidfd_, other.pidfd_);
  return *this;
}

PeerProcess::~PeerProcess() {
  if (pidfd_ >= 0) close(pidfd_);
}

absl::StatusOr<UnixPeer> IdentifyUnixPeer(int connected_fd) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(connected_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return Failed("SO_PEERCRED");
  }
  if (credentials.uid == kOverflowUid || credentials.uid == static_cast<uid_t>(-1)) {
    return absl::PermissionDeniedError(
        absl::StrCat("uid ", credentials.uid,
                     " stands for users without a mapping here, so it "
                     "cannot be told who is calling"));
  }
  UnixPeer peer;
  peer.principal.uid = credentials.uid;
  peer.principal.gid = credentials.gid;
  peer.principal.pid = credentials.pid;
  if (absl::Status groups = ReadGroups(connected_fd, peer.principal.groups); !groups.ok()) {
    return groups;
  }
  absl::StatusOr<PeerProcess> process = HoldProcess(connected_fd, credentials.pid);
  if (!process.ok()) return process.status();
  peer.process = *std::move(process);
  return peer;
}

const std::string& UserNames::Of(uid_t uid) {
  const base::BootTime now = clock_.BootNow();
  if (known_.size() >= kKnownMax) known_.clear();
  Known& known = known_[uid];
  if (known.until <= now) known = {LookUp(uid), now + kKnownFor};
  return known.name;
}

}  // namespace keyturn::authn

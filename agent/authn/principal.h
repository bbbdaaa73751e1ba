// SPDX-License-Identifier: Apache-2.0
// Principal: who a caller is, as the kernel attested it when the connection was made. A plain
// value, fixed for the life of a connection.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace keyturn::authn {

struct Principal {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  pid_t pid = 0;              // 0: the peer lives in another pid namespace
  std::vector<gid_t> groups;  // supplementary
  std::string user;           // empty: the uid has no name here
  // The connection came through the admin socket.
  bool admin_socket = false;

  // `unix:uid=1000,user=support,gid=1000,pid=4711`: for logs, audit and whoami.
  std::string ToString() const;
};

// For what ToString made: whether that process has certainly ended. False where nobody can know,
// and when its number has gone to another process.
bool HasEnded(absl::string_view principal_text);

}  // namespace keyturn::authn

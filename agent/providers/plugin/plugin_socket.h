// SPDX-License-Identifier: Apache-2.0
// Where a plugin listens: the socket `provider.sock` in a directory of its own (0700, owned by the
// user it runs as), and the proof of who listens there. Blocks on the file system only.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"

namespace keyturn::providers {

inline constexpr char kPluginSocketName[] = "provider.sock";

// Makes PARENT (0711) and PARENT/NAME for `uid`, without an old socket in it; returns its path.
absl::StatusOr<std::string> MakePluginDirectory(const std::string& parent, const std::string& name,
                                                uid_t uid, gid_t gid);

// A connected, non-blocking socket. UNAVAILABLE while nobody listens, PERMISSION_DENIED when the
// kernel says that the listener is another process or another user.
absl::StatusOr<int> ConnectToPlugin(const std::string& directory, pid_t pid, uid_t uid);

}  // namespace keyturn::providers

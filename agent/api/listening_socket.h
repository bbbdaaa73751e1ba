// SPDX-License-Identifier: Apache-2.0
// A unix socket in the file system that this process listens on. The file appears with its final
// mode before anybody can connect, replaces one that a dead process left behind, never one that
// somebody listens on, and goes away with this object unless somebody replaced it since.
// Not thread-safe.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"

namespace keyturn::api {

class ListeningSocket {
 public:
  // INVALID_ARGUMENT for a path that cannot be a socket's, FAILED_PRECONDITION when the path is
  // taken, else what the operating system said. Every message names the path and a way out.
  static absl::StatusOr<ListeningSocket> Open(const std::string& path, mode_t mode);

  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket() { Close(); }

  // Non-blocking, closed on exec; -1 after Close.
  int fd() const { return fd_; }
  // From here on clients are refused. Idempotent.
  void Close();

 private:
  ListeningSocket(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_ = -1;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace keyturn::api

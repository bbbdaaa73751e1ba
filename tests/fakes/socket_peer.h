// SPDX-License-Identifier: Apache-2.0
// SocketPeer: another process that connects to a unix socket, as another user if asked, and hands
// the connected socket over, so that a test can speak on a connection whose identity is not the
// test's own. The process lives until Exit. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace keyturn::fakes {

class SocketPeer {
 public:
  // With `uid` (needs root) the process changes to that uid and an equal gid first.
  explicit SocketPeer(const std::string& path, std::optional<uid_t> uid = std::nullopt);
  ~SocketPeer();
  SocketPeer(const SocketPeer&) = delete;
  SocketPeer& operator=(const SocketPeer&) = delete;

  // The connected, non-blocking socket, once; -1 when the process could not connect.
  int TakeFd();
  pid_t pid() const { return pid_; }
  // Ends the process and waits until it is gone; the socket stays open. Idempotent.
  void Exit();

 private:
  pid_t pid_ = -1;
  int control_ = -1;
  int fd_ = -1;
};

}  // namespace keyturn::fakes

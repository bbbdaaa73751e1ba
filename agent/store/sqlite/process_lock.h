// SPDX-License-Identifier: Apache-2.0
// One process to a store: a lock on a file beside the database, which the kernel gives back when
// the process ends, however it ends. The file stays; it holds the number of the last holder.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace keyturn::store {

class ProcessLock {
 public:
  // FAILED_PRECONDITION "store PATH is in use by process PID" when another holds it.
  static absl::StatusOr<ProcessLock> Take(const std::string& store_path);

  ProcessLock(ProcessLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  ProcessLock(const ProcessLock&) = delete;
  ProcessLock& operator=(const ProcessLock&) = delete;
  ProcessLock& operator=(ProcessLock&&) = delete;
  ~ProcessLock();

 private:
  explicit ProcessLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace keyturn::store

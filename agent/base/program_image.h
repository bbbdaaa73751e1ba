// SPDX-License-Identifier: Apache-2.0
// ProgramImage: the bytes of an executable file, copied into sealed memory and compared with a
// pinned checksum. What is executed is the copy, so nobody can change the file, or put another in
// its place, between the comparison and the start. Works for binaries and for scripts; the
// interpreter that a script names is not part of it. Immutable, movable.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyturn::base {

class ProgramImage {
 public:
  // Blocks on the disk. NOT_FOUND, PERMISSION_DENIED or INTERNAL when it cannot be read,
  // FAILED_PRECONDITION when its SHA-256 is not `sha256` (lower-case hexadecimal).
  static absl::StatusOr<ProgramImage> Load(const std::string& path, absl::string_view sha256);

  ProgramImage(ProgramImage&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), script_(other.script_) {}
  ProgramImage& operator=(ProgramImage&&) = delete;
  ~ProgramImage();

  // For execveat; closed on exec.
  int fd() const { return fd_; }
  // Whether it begins with `#!`: then the kernel hands it to its interpreter as /dev/fd/N.
  bool script() const { return script_; }

 private:
  explicit ProgramImage(int fd) : fd_(fd) {}
  int fd_;
  bool script_ = false;
};

}  // namespace keyturn::base

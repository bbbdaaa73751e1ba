// SPDX-License-Identifier: Apache-2.0
// A KEK in a file: 32 raw bytes, or 64 hexadecimal digits with or without a newline. The file must
// belong to the agent's user (or root) and grant nothing to others. Thread-safe; blocks on the
// disk.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "agent/base/random.h"
#include "agent/crypto/kek_source.h"

namespace keyturn::crypto {

class KeyfileKekSource final : public KekSource {
 public:
  explicit KeyfileKekSource(std::string path) : path_(std::move(path)) {}

  // NOT_FOUND, FAILED_PRECONDITION (open to others), INVALID_ARGUMENT (not a key) or what reading
  // says.
  absl::StatusOr<base::Secret> Load() override;
  std::string Describe() const override { return "keyfile " + path_; }

 private:
  const std::string path_;
};

// Writes a new random key with mode 0400 and makes it durable, with a directory (0700) for it where
// there is none. ALREADY_EXISTS when anything is at `path`: a keyfile is never replaced, for
// without it the store it belongs to is lost.
absl::Status CreateKeyfile(const std::string& path, base::Random& random);

}  // namespace keyturn::crypto

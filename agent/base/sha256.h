// SPDX-License-Identifier: Apache-2.0
// SHA-256 of bytes that come in pieces. Not thread-safe; sodium_init must have run (crypto::Init).
#pragma once

#include <sodium.h>

#include <string>

#include "absl/strings/string_view.h"

namespace keyturn::base {

class Sha256 {
 public:
  Sha256() { crypto_hash_sha256_init(&state_); }
  void Update(absl::string_view bytes);
  // 64 lower-case hexadecimal digits. Ends the use of this object.
  std::string HexDigest();

 private:
  crypto_hash_sha256_state state_;
};

}  // namespace keyturn::base

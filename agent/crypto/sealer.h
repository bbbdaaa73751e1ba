// SPDX-License-Identifier: Apache-2.0
// Authenticated encryption of rows: XChaCha20-Poly1305 with a random nonce, under a data key that
// is itself wrapped (docs/formats/store.md has the bytes). The associated data ties a ciphertext to
// its place, so a row that was moved, renamed or put back under another key does not open.
// Immutable after construction and thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/secret.h"

namespace keyturn::crypto {

class Sealer {
 public:
  virtual ~Sealer() = default;
  virtual std::string Seal(absl::string_view plaintext,
                           absl::string_view associated_data) const = 0;
  // DATA_LOSS when it does not open.
  virtual absl::StatusOr<base::Secret> Open(absl::string_view sealed,
                                            absl::string_view associated_data) const = 0;
};

}  // namespace keyturn::crypto

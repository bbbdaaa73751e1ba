// SPDX-License-Identifier: Apache-2.0
// The sealed box that everything secret on disk lies in: a 24-byte random nonce, then
// XChaCha20-Poly1305 ciphertext with its 16-byte tag (docs/formats/store.md, "Box"). A random nonce
// of this size may be drawn for every box that one key will ever seal. Thread-safe.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"
#include "agent/crypto/locked_key.h"

namespace keyturn::crypto {

inline constexpr size_t kBoxOverhead = 24 + 16;

std::string SealBox(const LockedKey& key, absl::string_view plaintext,
                    absl::string_view associated_data, base::Random& random);

// DATA_LOSS unless exactly these bytes were sealed under this key with this associated data.
absl::StatusOr<base::Secret> OpenBox(const LockedKey& key, absl::string_view box,
                                     absl::string_view associated_data);

}  // namespace keyturn::crypto

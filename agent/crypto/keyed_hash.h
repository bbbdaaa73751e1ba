// SPDX-License-Identifier: Apache-2.0
// A short keyed hash (BLAKE2b) by which two secrets can be told to be the same without either being
// kept: the journal says with it which refresh token was on its way. Without the store's master key
// it says nothing about the secret. Immutable and thread-safe. docs/formats/store.md, "Keyed hash".
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "agent/crypto/locked_key.h"

namespace keyturn::crypto {

class KeyedHash {
 public:
  explicit KeyedHash(LockedKey key) : key_(std::move(key)) {}

  // `size` bytes, 16 to 64. Hashes of different contexts have nothing in common; a context is a
  // constant such as `refresh-token` and is part of the disk format.
  std::string Of(absl::string_view context, absl::string_view message, size_t size = 16) const;

 private:
  const LockedKey key_;
};

}  // namespace keyturn::crypto

// SPDX-License-Identifier: Apache-2.0
// A 32-byte key in memory of its own: between guard pages, locked against swapping as far as the
// process's limit allows, read-only once made, wiped when given up. Costs several pages and some
// 30 microseconds to make, so it is for the few keys that live as long as the process. Immutable
// and thread-safe; crypto::Init must have run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "agent/base/random.h"

namespace keyturn::crypto {

// What the subkeys of a master are for; the numbers are on disk (docs/formats/store.md).
enum class Subkey : uint64_t {
  kKeyring = 1,  // seals data keys
  kHeader = 2,   // authenticates the store header
  kHash = 3,     // KeyedHash
  kManifest = 4,
  kBackup = 6,
};

class LockedKey {
 public:
  static constexpr size_t kSize = 32;

  // Copies exactly 32 bytes; the caller wipes its own.
  explicit LockedKey(absl::string_view bytes);
  static LockedKey Generate(base::Random& random);
  // The subkey of this master, by crypto_kdf.
  LockedKey Derive(Subkey subkey) const;

  const unsigned char* data() const { return bytes_.get(); }
  absl::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.get()), kSize}; }

 private:
  struct Free {
    void operator()(unsigned char* bytes) const;
  };
  LockedKey();
  void Protect();

  std::unique_ptr<unsigned char, Free> bytes_;
};

}  // namespace keyturn::crypto

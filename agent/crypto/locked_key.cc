// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/locked_key.h"

#include <sodium.h>

#include <cstring>

#include "agent/base/check.h"

namespace keyturn::crypto {
namespace {

constexpr char kContext[] = "keyturn1";
static_assert(sizeof kContext == crypto_kdf_CONTEXTBYTES + 1);
static_assert(LockedKey::kSize == crypto_kdf_KEYBYTES);

}  // namespace

void LockedKey::Free::operator()(unsigned char* bytes) const { sodium_free(bytes); }

LockedKey::LockedKey() : bytes_(static_cast<unsigned char*>(sodium_malloc(kSize))) {
  KEYTURN_CHECK(bytes_ != nullptr, "no memory for a key");
}

LockedKey::LockedKey(absl::string_view bytes) : LockedKey() {
  KEYTURN_CHECK(bytes.size() == kSize, "a key is 32 bytes");
  std::memcpy(bytes_.get(), bytes.data(), kSize);
  Protect();
}

LockedKey LockedKey::Generate(base::Random& random) {
  LockedKey key;
  random.Fill(key.bytes_.get(), kSize);
  key.Protect();
  return key;
}

LockedKey LockedKey::Derive(Subkey subkey) const {
  LockedKey key;
  crypto_kdf_derive_from_key(key.bytes_.get(), kSize, static_cast<uint64_t>(subkey), kContext,
                             data());
  key.Protect();
  return key;
}

void LockedKey::Protect() { sodium_mprotect_readonly(bytes_.get()); }

}  // namespace keyturn::crypto

// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/memory_sealer.h"

#include <sodium.h>

#include "agent/base/check.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"
#include "agent/crypto/aead.h"
#include "agent/crypto/locked_key.h"

namespace keyturn::crypto {
namespace {

constexpr size_t kNonceSize = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;

}  // namespace

struct MemorySealer::Key {
  LockedKey key = LockedKey::Generate(base::SystemRandom());
};

MemorySealer::MemorySealer() : key_(std::make_unique<Key>()) {}
MemorySealer::~MemorySealer() = default;

std::string MemorySealer::Seal(absl::string_view plaintext) const {
  return SealBox(key_->key, plaintext, {}, base::SystemRandom());
}

size_t MemorySealer::OpenedSize(absl::string_view sealed) {
  return sealed.size() < kBoxOverhead ? 0 : sealed.size() - kBoxOverhead;
}

void MemorySealer::Open(absl::string_view sealed, std::string& out) const {
  KEYTURN_CHECK(sealed.size() >= kBoxOverhead, "not sealed by this process");
  const size_t size = OpenedSize(sealed);
  // Growing would leave the old bytes behind in the heap.
  if (out.capacity() < size) base::Wipe(out);
  out.resize(size);
  // In place of OpenBox: that one allocates, and this is on the path of every get.
  const auto* box = reinterpret_cast<const unsigned char*>(sealed.data());
  KEYTURN_CHECK(
      crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<unsigned char*>(out.data()), nullptr, nullptr, box + kNonceSize,
          sealed.size() - kNonceSize, nullptr, 0, box, key_->key.data()) == 0,
      "not sealed by this process");
}

}  // namespace keyturn::crypto

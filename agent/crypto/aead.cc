// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/aead.h"

#include <sodium.h>

#include "agent/base/check.h"

namespace keyturn::crypto {
namespace {

constexpr size_t kNonceSize = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagSize = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(kBoxOverhead == kNonceSize + kTagSize);

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

}  // namespace

std::string SealBox(const LockedKey& key, absl::string_view plaintext,
                    absl::string_view associated_data, base::Random& random) {
  std::string box(plaintext.size() + kBoxOverhead, '\0');
  random.Fill(box.data(), kNonceSize);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      Bytes(box) + kNonceSize, nullptr, Bytes(plaintext), plaintext.size(), Bytes(associated_data),
      associated_data.size(), nullptr, Bytes(box), key.data());
  return box;
}

absl::StatusOr<base::Secret> OpenBox(const LockedKey& key, absl::string_view box,
                                     absl::string_view associated_data) {
  if (box.size() < kBoxOverhead) return absl::DataLossError("shorter than any sealed box");
  const absl::string_view ciphertext = box.substr(kNonceSize);
  std::string plaintext(ciphertext.size() - kTagSize, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          Bytes(plaintext), nullptr, nullptr, Bytes(ciphertext), ciphertext.size(),
          Bytes(associated_data), associated_data.size(), Bytes(box), key.data()) != 0) {
    return absl::DataLossError(
        "does not open: changed, moved from another place, or of another key");
  }
  return base::Secret::Take(plaintext);
}

}  // namespace keyturn::crypto

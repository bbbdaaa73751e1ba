// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/signing/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "absl/strings/escaping.h"
#include "agent/base/check.h"

namespace keyturn::providers {

std::string Sha256(absl::string_view message) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  KEYTURN_CHECK(
      EVP_Digest(message.data(), message.size(), digest, &size, EVP_sha256(), nullptr) == 1,
      "SHA-256 is not to be had");
  return {reinterpret_cast<const char*>(digest), size};
}

std::string Sha256Hex(absl::string_view message) { return absl::BytesToHexString(Sha256(message)); }

base::Secret HmacSha256(absl::string_view key, absl::string_view message) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  KEYTURN_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                     reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest,
                     &size) != nullptr,
                "HMAC is not to be had");
  std::string text(reinterpret_cast<const char*>(digest), size);
  return base::Secret::Take(text);
}

}  // namespace keyturn::providers

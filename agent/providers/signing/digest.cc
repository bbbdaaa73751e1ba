// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/signing/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "agent/base/check.h"
#include "agent/base/sha256.h"

namespace keyturn::providers {

std::string Sha256Hex(absl::string_view message) {
  base::Sha256 digest;
  digest.Update(message);
  return digest.HexDigest();
}

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

// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/keyed_hash.h"

#include <sodium.h>

#include "agent/base/secret.h"
#include "agent/crypto/byte_layout.h"

namespace keyturn::crypto {

std::string KeyedHash::Of(absl::string_view context, absl::string_view message, size_t size) const {
  // One allocation, so that no copy of the message is left behind by growing.
  std::string input;
  input.reserve(8 + context.size() + message.size());
  AppendFramed(input, context);
  AppendFramed(input, message);
  std::string hash(size, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(hash.data()), hash.size(),
                     reinterpret_cast<const unsigned char*>(input.data()), input.size(),
                     key_.data(), LockedKey::kSize);
  base::Wipe(input);
  return hash;
}

}  // namespace keyturn::crypto

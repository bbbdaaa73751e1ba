// SPDX-License-Identifier: Apache-2.0
// KekSource: where the key-encryption key comes from that unwraps the store's data keys (the terms
// of NIST SP 800-57). Called once at start, may block.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "agent/base/secret.h"

namespace keyturn::crypto {

class KekSource {
 public:
  virtual ~KekSource() = default;
  // 32 bytes. Errors say which file is wrong, how, and what mends it.
  virtual absl::StatusOr<base::Secret> Load() = 0;
  // `keyfile /etc/keyturn/kek`, for messages.
  virtual std::string Describe() const = 0;
};

}  // namespace keyturn::crypto

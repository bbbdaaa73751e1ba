// SPDX-License-Identifier: Apache-2.0
// SHA-256 and HMAC-SHA-256 (RFC 2104), as signatures of requests are made of. Pure, thread-safe.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

// 64 digits, lower case.
std::string Sha256Hex(absl::string_view message);
// 32 bytes. A Secret, because it may itself be the key of the next step.
base::Secret HmacSha256(absl::string_view key, absl::string_view message);

}  // namespace keyturn::providers

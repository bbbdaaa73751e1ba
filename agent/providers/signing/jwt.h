// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens signed with RS256 or ES256 (RFC 7515, 7518, 7519). Pure, thread-safe. Errors name
// no part of the key.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

enum class JwtSignature { kRs256, kEs256 };

struct JwtContent {
  // `alg` and `typ` are added.
  std::map<std::string, std::string> header;
  // `iat` and `exp` are added, in whole seconds.
  std::map<std::string, std::string> claims;
  absl::Time issued_at;
  absl::Time expires_at;
};

// `pem` is an unencrypted private key: RSA of at least 2048 bits for RS256, P-256 for ES256.
// InvalidArgument otherwise.
absl::StatusOr<base::Secret> SignJwt(JwtSignature signature, const base::Secret& pem,
                                     const JwtContent& content);

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens signed with RS256, ES256, EdDSA or HS256 (RFC 7515, 7518, 7519, 8037). Pure,
// thread-safe. Errors name no part of the key.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

enum class JwtSignature { kRs256, kEs256, kEdDsa, kHs256 };

// `RS256`, ...: as RFC 7518 and 8037 spell them.
const char* JwtSignatureName(JwtSignature signature);
std::optional<JwtSignature> JwtSignatureOf(absl::string_view name);

struct JwtContent {
  // `alg` and `typ` are added.
  std::map<std::string, std::string> header;
  // `iat` and `exp` are added, in whole seconds.
  std::map<std::string, std::string> claims;
  absl::Time issued_at;
  absl::Time expires_at;
};

// `key` is an unencrypted private key in PEM: RSA of at least 2048 bits for RS256, P-256 for ES256,
// Ed25519 for EdDSA; for HS256 the bytes of the shared secret. InvalidArgument otherwise.
absl::StatusOr<base::Secret> SignJwt(JwtSignature signature, const base::Secret& key,
                                     const JwtContent& content);

// The same for a header and a payload that stand already, JSON as they should be; the header names
// the algorithm.
absl::StatusOr<base::Secret> SignJws(JwtSignature signature, const base::Secret& key,
                                     absl::string_view header, absl::string_view payload);

}  // namespace keyturn::providers

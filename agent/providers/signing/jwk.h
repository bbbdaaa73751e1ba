// SPDX-License-Identifier: Apache-2.0
// The public half of a P-256 key as a JSON Web Key, and its thumbprint (RFC 7517, 7518, 7638).
// Pure, thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

// With the members that RFC 7638 section 3.2 names, in its order and without spaces. `pem` is the
// private key; InvalidArgument when it is no key on P-256.
absl::StatusOr<std::string> PublicJwk(const base::Secret& pem);

// Of a key in that form: SHA-256 as base64url.
std::string JwkThumbprint(absl::string_view jwk);

}  // namespace keyturn::providers

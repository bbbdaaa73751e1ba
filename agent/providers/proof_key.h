// SPDX-License-Identifier: Apache-2.0
// The keys that tokens are bound to with DPoP (RFC 9449). Thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

// A new private key on P-256, as PEM. Internal when there is no randomness to be had.
absl::StatusOr<base::Secret> NewProofKey();

// What an authorization request calls `dpop_jkt` (section 10). InvalidArgument for anything but
// such a key.
absl::StatusOr<std::string> ProofKeyThumbprint(const base::Secret& pem);

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// Proofs of possession for DPoP (RFC 9449 section 4.2): one JWT for one request. Thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

struct ProofFor {
  std::string method;
  // Query and fragment are left out of the proof.
  std::string url;
  // The last one that this server gave; may be empty.
  std::string nonce;
  // The token that is presented with the proof; null for a token request.
  const base::Secret* access_token = nullptr;
};

// InvalidArgument when `key` is no P-256 key in PEM.
absl::StatusOr<base::Secret> MakeDpopProof(const base::Secret& key, const ProofFor& what,
                                           absl::Time now, base::Random& random);

}  // namespace keyturn::providers

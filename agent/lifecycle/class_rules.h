// SPDX-License-Identifier: Apache-2.0
// What a provider's class asks of the credentials that use it, and of the values that people bring.
// Pure. docs/ROTATION.md gives the reasons.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "agent/base/value.h"
#include "agent/providers/provider.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

struct BrokenRule {
  std::string field;  // of the credential
  std::string message;
};

// `recovery`: of the provider that the credential names for that; null when it names none.
std::optional<BrokenRule> CheckClass(const v1::CredentialSpec& spec,
                                     const providers::Traits& traits,
                                     const providers::Traits* recovery);

// Whether the provider lists keys so that each can be accounted for: Keyturn's, or somebody else's.
bool AccountsForKeys(const providers::Traits& traits);

// Whether a value that a person copied from somewhere looks whole: no spaces, no `Bearer ` in
// front, not cut off, and as the provider's keys look. InvalidArgument, without the value, says
// what is odd.
absl::Status CheckBroughtValue(const base::CredentialValue& value, const providers::Traits& traits);

}  // namespace keyturn::lifecycle

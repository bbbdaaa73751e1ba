// SPDX-License-Identifier: Apache-2.0
// The calls that a rotation of a credential would make if each succeeded, in order, by the class of
// its provider and what that states about itself. Pure; nothing is asked of the provider.
#pragma once

#include <string>
#include <vector>

#include "agent/lifecycle/ledger.h"
#include "agent/providers/provider.h"

namespace keyturn::lifecycle {

struct PreviewedStep {
  // list, create, verify, revoke are calls; promote and wait are what Keyturn does between them;
  // put is what a person does.
  std::string step;
  std::string detail;
};

std::vector<PreviewedStep> PreviewOf(const CredentialState& state, const providers::Traits& traits,
                                     const std::string& agent_id);

}  // namespace keyturn::lifecycle

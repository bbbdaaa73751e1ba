// SPDX-License-Identifier: Apache-2.0
// Whose keys are whose: which provider resources lead to the same service, which to the same keys
// there, and whether a credential has keys where its provider leads now. Pure. docs/ROTATION.md,
// "Candidates and orphans", says what follows from it.
#pragma once

#include <string>

#include "agent/lifecycle/ledger.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

// Equal for providers of one recipe or plugin at one URL, however that is spelled. Within a service
// the ids of keys do not repeat (those of slots do).
std::string ServiceOf(const v1::ProviderSpec& spec);

// Equal for providers that list the same keys: of one service, with the same parameters. Who
// manages them, and how long things take there, makes no difference.
std::string KeySetOf(const v1::ProviderSpec& spec);

// Why the credential's keys depend on its provider's staying what it is, for people; empty when it
// never had a key and none can turn up any more.
std::string KeysHeldBy(const CredentialState& state);

}  // namespace keyturn::lifecycle

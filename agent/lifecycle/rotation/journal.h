// SPDX-License-Identifier: Apache-2.0
// Journal: turns a step of the state machine into one transaction: the row, the versions, the
// credential and the history change together or not at all. Pure but for the ledger it reads.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "agent/lifecycle/ledger.h"
#include "agent/lifecycle/rotation/state_machine.h"

namespace keyturn::lifecycle::rotation {

struct JournalContext {
  absl::Time now;
  // When the next attempt is due should this one have failed.
  absl::Time retry_at;
  bool sweep_only = false;
  bool tagged = false;
};

// Whether an ending counts as a failed attempt, and as which failure.
bool IsFailure(Ending ending);
observe::FailureCode FailureOf(Ending ending);

// Sets record.new_version when the step mints; empties record.new_value once the version holds it.
store::Transaction TransactionFor(const Ledger& ledger, const CredentialState& credential,
                                  Step& step, const JournalContext& context);

}  // namespace keyturn::lifecycle::rotation

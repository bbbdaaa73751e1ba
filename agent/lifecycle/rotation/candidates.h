// SPDX-License-Identifier: Apache-2.0
// Which of the keys a provider lists came from us. Pure. Never "the oldest", never a guess: a key
// is ours by its tag, or by exclusion where the credential is exclusive.
#pragma once

#include <string>
#include <vector>

#include "agent/lifecycle/rotation/state_machine.h"

namespace keyturn::lifecycle::rotation {

// Null when the key is not listed.
const providers::ListedKey* Find(const std::vector<providers::ListedKey>& keys,
                                 const std::string& id);

// Keys that the open attempt may have made. `certain` when all of them are provably ours.
struct Candidates {
  std::vector<providers::ListedKey> keys;
  bool certain = true;
};
Candidates CandidatesOf(const store::RotationRecord& record,
                        const std::vector<providers::ListedKey>& listed, const Facts& facts);

// Keys that no credential accounts for.
struct Unaccounted {
  std::vector<std::string> orphans;  // provably ours: may be deleted
  std::vector<std::string> unknown;  // may be somebody else's: must be left alone
};
Unaccounted UnaccountedOf(const std::vector<providers::ListedKey>& listed, const Facts& facts);

}  // namespace keyturn::lifecycle::rotation

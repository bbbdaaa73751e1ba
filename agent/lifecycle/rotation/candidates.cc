// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/rotation/candidates.h"

#include <algorithm>

namespace keyturn::lifecycle::rotation {
namespace {

// Whether some credential accounts for the key. One that a person stored may have come without its
// id; where the list shows secrets, the value in use tells.
bool Known(const Facts& facts, const providers::ListedKey& key) {
  if (facts.known_ids.count(key.id) != 0 || facts.disowned_ids.count(key.id) != 0) return true;
  const base::Secret* listed = key.value.Primary();
  const base::Secret* current = facts.current_value.Primary();
  return listed != nullptr && current != nullptr && *listed == *current;
}

}  // namespace

const providers::ListedKey* Find(const std::vector<providers::ListedKey>& keys,
                                 const std::string& id) {
  const auto found = std::find_if(keys.begin(), keys.end(),
                                  [&](const providers::ListedKey& key) { return key.id == id; });
  return found == keys.end() ? nullptr : &*found;
}

Candidates CandidatesOf(const store::RotationRecord& record,
                        const std::vector<providers::ListedKey>& listed, const Facts& facts) {
  Candidates found;
  const bool tagged = facts.traits.provider_class == providers::ProviderClass::kTagged;
  for (const providers::ListedKey& key : listed) {
    if (key.dead || Known(facts, key)) continue;
    if (tagged) {
      if (key.tag == record.tag) found.keys.push_back(key);
    } else if (std::find(record.seen_before.begin(), record.seen_before.end(), key.id) ==
               record.seen_before.end()) {
      found.keys.push_back(key);
    }
  }
  found.certain = tagged || facts.exclusive;
  return found;
}

Unaccounted UnaccountedOf(const std::vector<providers::ListedKey>& listed, const Facts& facts) {
  Unaccounted found;
  const bool tagged = facts.traits.provider_class == providers::ProviderClass::kTagged;
  for (const providers::ListedKey& key : listed) {
    if (key.dead || Known(facts, key)) continue;
    const bool by_tag = tagged && facts.our_tags.count(key.tag) != 0;
    const bool by_id = facts.our_ids.count(key.id) != 0;
    if (by_tag || by_id || facts.exclusive) {
      found.orphans.push_back(key.id);
    } else if (!tagged) {
      // Beside tagged keys others' keys are the normal thing; beside untagged ones they deserve a
      // look.
      found.unknown.push_back(key.id);
    }
  }
  return found;
}

}  // namespace keyturn::lifecycle::rotation

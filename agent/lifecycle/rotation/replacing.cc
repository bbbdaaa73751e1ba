// SPDX-License-Identifier: Apache-2.0
// Classes that make no new key beside the old one but put a new value in a place: dual_slot in the
// slot that is not in use, roll and self_roll in the very place of the key in use.
#include <algorithm>

#include "agent/lifecycle/rotation/transition.h"

namespace keyturn::lifecycle::rotation {
namespace {

using observe::FailureCode;
using providers::ListedKey;
using providers::Outcome;

// How often one row sends a create call whose outcome stays unknown.
constexpr uint32_t kCreatesMax = 3;
// Rejections of the old key in a row before it counts as dead.
constexpr uint32_t kDeadProbes = 2;

bool SameSecret(const base::CredentialValue& a, const base::CredentialValue& b) {
  return a.Primary() != nullptr && b.Primary() != nullptr && *a.Primary() == *b.Primary();
}

}  // namespace

// Slots hold keys for good, so the one that is not in use is the one to regenerate.
void Transition::CheckSlots(const std::vector<ListedKey>& slots) {
  if (row().old_version != 0) {
    for (const ListedKey& slot : slots) {
      if (row().old_key_id.empty() && SameSecret(slot.value, facts_.current_value)) {
        row().old_key_id = slot.id;
      }
    }
    const ListedKey* used = Find(slots, row().old_key_id);
    if (used == nullptr || used->value.empty()) {
      // Regenerating either slot might end the key in use.
      return End(Ending::kRefused, {Outcome::kRejected, "slot_unknown", 0, {}});
    }
    if (!SameSecret(used->value, facts_.current_value)) {
      // Somebody else, or a request that came late, has regenerated the slot in use.
      return Replace(used->id, used->value, store::kNever);
    }
  }
  if (facts_.sweep_only) return End(Ending::kSwept);
  const std::vector<std::string>& known = facts_.traits.slots;
  // Without a key of our own: the last one, because people tend to begin with the first.
  const auto target = std::find_if(known.rbegin(), known.rend(), [this](const std::string& id) {
    return id != row().old_key_id;
  });
  const ListedKey* listed = target == known.rend() ? nullptr : Find(slots, *target);
  if (listed == nullptr || listed->value.empty()) {
    return End(Ending::kRefused, {Outcome::kRejected, "slot_unknown", 0, {}});
  }
  if (facts_.known_ids.count(*target) != 0) {
    return End(Ending::kBlocked, {Outcome::kLimited, "slot_in_use", 0, {}});
  }
  row().target = *target;
  row().target_before = *listed->value.Primary();
  SendCreate();
}

void Transition::ReconcileSlots(const std::vector<ListedKey>& slots) {
  const ListedKey* slot = Find(slots, row().target);
  if (slot == nullptr || slot->value.empty()) {
    return Retry({Outcome::kTransient, "slot_unknown", 0, {}});
  }
  if (!(*slot->value.Primary() == row().target_before)) {
    return Mint(slot->id, slot->value, store::kNever);
  }
  // Nobody uses that slot: should the lost request still arrive, it does no harm.
  if (row().creates >= kCreatesMax) {
    return End(Ending::kUnavailable, {Outcome::kUnknown, row().last_error, 0, {}});
  }
  SendCreate();
}

// Rolling again converges: whatever the lost request did, the next reply holds the key that works.
void Transition::ReconcileRoll(const std::vector<ListedKey>& alive) {
  if (row().creates >= kCreatesMax) {
    Raise(
        FailureCode::kRotationAmbiguous, {Outcome::kUnknown, row().last_error, 0, {}},
        "nobody knows whether the key was replaced; it is rolled again until the provider answers, "
        "and consumers may be without a working key until then");
  }
  if (!facts_.traits.can_list || row().target.empty() || Find(alive, row().target) != nullptr) {
    return SendCreate();
  }
  // Some services give a rolled key a new id. The one that was not there before is ours.
  const Candidates found = CandidatesOf(row(), alive, facts_);
  if (found.keys.empty()) return NothingCreated();
  if (found.keys.size() > 1) return Ambiguous(found);
  row().target = found.keys.front().id;
  SendCreate();
}

// The old key tells: it dies in the moment the new one is made.
void Transition::ReconcileSelfRoll(const VerifyReplied& reply) {
  if (reply.result.outcome == Outcome::kOk) {
    if (row().creates > 1) {
      return End(Ending::kUnavailable, {Outcome::kUnknown, row().last_error, 0, {}});
    }
    return SendCreate();
  }
  if (reply.result.outcome != Outcome::kRejected) return Retry(reply.result);
  if (++row().clean_lists < kDeadProbes) {
    return WaitFor(std::min(facts_.traits.settle, facts_.retry_wait));
  }
  step_.version = VersionChange::kLoseCurrent;
  End(Ending::kLost, {Outcome::kUnknown, "key_lost", 0, {}});
}

void Transition::Replace(std::string id, base::CredentialValue value, absl::Time expires_at) {
  Enter(State::kProving);
  row().new_key_id = id.empty() ? row().old_key_id : std::move(id);
  row().new_value = std::move(value);
  row().new_expires_at = expires_at;
  row().verify_until = facts_.now + facts_.traits.propagation;
  step_.version = VersionChange::kReplace;
  step_.resolved = {FailureCode::kRotationFailed, FailureCode::kRotationBlockedLimit,
                    FailureCode::kRotationOverdue, FailureCode::kRotationAmbiguous};
  step_.effect = CallVerifyNew{};
}

void Transition::Proving(const VerifyReplied& reply) {
  if (reply.result.outcome == Outcome::kOk) {
    Resolve(FailureCode::kVerifyFailed);
    return End(Ending::kDone);
  }
  Retry(reply.result);
  if (facts_.now < row().verify_until) {
    if (reply.result.outcome == Outcome::kRejected) {
      step_.effect = Wait{std::min(facts_.now + facts_.retry_wait, row().verify_until)};
    }
    return;
  }
  Raise(FailureCode::kVerifyFailed, reply.result,
        "the key that took the old one's place is not accepted");
  if (reply.result.outcome != Outcome::kRejected) return;
  if (Is(Class::kSelfRoll)) {
    // A key that is not accepted cannot replace itself either.
    step_.version = VersionChange::kLoseCurrent;
    return End(Ending::kLost, reply.result);
  }
  // Nothing is left to go back to; another roll may help, and for that the row has to end.
  End(Ending::kUnproven, reply.result);
}

}  // namespace keyturn::lifecycle::rotation

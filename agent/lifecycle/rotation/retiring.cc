// SPDX-License-Identifier: Apache-2.0
// From a key that exists to the death of the one before: verify, promote, grace, revoke.
#include <algorithm>

#include "agent/lifecycle/rotation/transition.h"

namespace keyturn::lifecycle::rotation {
namespace {

using observe::FailureCode;
using providers::Outcome;

// How often it is looked whether the consumers have moved on, should nobody say so.
constexpr absl::Duration kConsumersLook = absl::Minutes(1);

}  // namespace

void Transition::Minted(const VerifyReplied& reply) {
  switch (reply.result.outcome) {
    case Outcome::kOk:
      Enter(State::kVerified);
      Resolve(FailureCode::kVerifyFailed);
      step_.effect = Proceed{};
      return;
    case Outcome::kRejected:
      if (facts_.now < row().verify_until) {
        Retry(reply.result);  // it may not have spread yet
        step_.effect = Wait{std::min(facts_.now + facts_.retry_wait, row().verify_until)};
        return;
      }
      AbortNew(reply.result);
      return;
    case Outcome::kLimited:
    case Outcome::kTransient:
    case Outcome::kUnknown:
      // Says nothing about the key: keep it, keep asking, and say so once it lasts.
      Retry(reply.result);
      if (facts_.now >= row().verify_until) Raise(FailureCode::kVerifyFailed, reply.result);
      return;
  }
}

void Transition::AbortNew(const CallResult& why) {
  step_.version = VersionChange::kDropNew;
  if (Is(Class::kManual)) return End(Ending::kRefused, why);  // a person's key is theirs to delete
  Raise(FailureCode::kVerifyFailed, why, "the provider rejects the key it has just made");
  // A slot cannot be emptied; the next attempt regenerates it.
  if (Is(Class::kDualSlot)) return End(Ending::kAborted, why);
  Enter(State::kAborting);
  row().abort_ids = {row().new_key_id};
  step_.effect = CallRevoke{row().new_key_id};
}

void Transition::Promote() {
  step_.version = VersionChange::kPromote;
  step_.resolved = {FailureCode::kRotationFailed, FailureCode::kRotationBlockedLimit,
                    FailureCode::kRotationOverdue, FailureCode::kManualRotationDue,
                    FailureCode::kExpiresSoon};
  if (row().old_version == 0) return End(Ending::kDone);
  Enter(State::kRetiring);
  row().grace_until = facts_.now + facts_.grace;
  row().grace_max =
      facts_.grace_max == absl::InfiniteDuration() ? store::kNever : facts_.now + facts_.grace_max;
  step_.effect = Wait{row().grace_until};
}

void Transition::ResumeRetiring() {
  // By the wall clock the grace may be over when by the other it is not: look again soon.
  if (!facts_.grace_over) {
    step_.effect = Wait{std::max(row().grace_until, facts_.now + absl::Seconds(1))};
    return;
  }
  if (facts_.consumers_hold && !facts_.grace_max_over) {
    step_.effect = Wait{std::max(std::min(row().grace_max, facts_.now + kConsumersLook),
                                 facts_.now + absl::Seconds(1))};
    return;
  }
  Enter(State::kRevoking);
  RevokeOld();
}

// The retiring version is what works; what replaced it gets a grace of its own.
void Transition::Undo() {
  Enter(State::kRetiring);
  std::swap(row().old_version, row().new_version);
  std::swap(row().old_key_id, row().new_key_id);
  step_.version = VersionChange::kSwap;
  row().grace_until = facts_.now + facts_.grace;
  row().grace_max =
      facts_.grace_max == absl::InfiniteDuration() ? store::kNever : facts_.now + facts_.grace_max;
  step_.effect = Wait{row().grace_until};
}

void Transition::RevokeOld() {
  if (!facts_.traits.can_revoke) return OldIsGone();
  // By hand a key may have been stored without its id; a manual provider finds it by its value.
  if (!row().old_key_id.empty() || Is(Class::kManual)) {
    step_.effect = CallRevoke{row().old_key_id};
    return;
  }
  Raise(FailureCode::kRevokeFailed, {Outcome::kOk, "key_id_unknown", 0, {}},
        "the old key was stored without the provider's id for it; revoke it at the provider");
  OldIsGone();
}

void Transition::Revoking(const Event& event) {
  if (const auto* revoked = std::get_if<RevokeReplied>(&event)) {
    if (revoked->result.outcome == Outcome::kOk) {
      if (facts_.traits.can_list && !row().old_key_id.empty()) {
        step_.effect = CallList{};
      } else {
        Revoked();
      }
      return;
    }
    // Asking again for the same exact id does no harm, whatever the outcome was.
    RetryRevoke(revoked->result);
    Raise(FailureCode::kRevokeFailed, revoked->result);
    return;
  }
  const auto* listed = std::get_if<ListReplied>(&event);
  if (listed == nullptr) return;
  const bool present = std::any_of(
      listed->keys.begin(), listed->keys.end(), [this](const providers::ListedKey& key) {
        if (key.id != row().old_key_id || key.dead) return false;
        // A slot stays; what matters is whether it still holds the old key.
        return !Is(Class::kDualSlot) ||
               (key.value.Primary() != nullptr && facts_.old_value.Primary() != nullptr &&
                *key.value.Primary() == *facts_.old_value.Primary());
      });
  if (listed->result.outcome != Outcome::kOk || present) {
    Retry(listed->result);
    if (present) Raise(FailureCode::kRevokeFailed, {Outcome::kOk, "still_listed", 0, {}});
    return;
  }
  Revoked();
}

// The provider says it is deleted. Where it keeps deleted keys in a cache, or does not list keys at
// all, only the key itself can tell.
void Transition::Revoked() {
  Resolve(FailureCode::kRevokeFailed);
  const bool probe = facts_.traits.cached_for > absl::ZeroDuration() || !facts_.traits.can_list;
  if (probe && facts_.traits.can_verify) {
    Enter(State::kDying);
    row().dead_by = facts_.now + facts_.traits.cached_for;
    step_.effect = Wait{row().dead_by};
    return;
  }
  OldIsGone();
}

void Transition::Dying(const VerifyReplied& reply) {
  if (reply.result.outcome == Outcome::kRejected) return OldIsGone();
  if (reply.result.outcome != Outcome::kOk) return Retry(reply.result);
  // Alive past its time: a request may have put it back into the provider's cache. Delete again and
  // give the cache its time once more.
  Raise(FailureCode::kRevokeFailed, {Outcome::kOk, "still_accepted", 0, {}},
        "the provider still accepts the deleted key");
  Enter(State::kRevoking);
  if (facts_.traits.can_list || facts_.traits.cached_for > absl::ZeroDuration()) {
    RevokeOld();
  } else {
    WaitFor(facts_.retry_wait);  // nothing else would pace the deleting and asking
  }
}

void Transition::OldIsGone() {
  step_.version = VersionChange::kRevokeOld;
  End(Ending::kDone);
}

}  // namespace keyturn::lifecycle::rotation

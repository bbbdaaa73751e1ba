// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/rotation/state_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/rotation/candidates.h"

namespace keyturn::lifecycle::rotation {
namespace {

using observe::FailureCode;
using providers::CallResult;
using providers::Outcome;
using store::RotationRecord;

// How many lists in a row must show nothing before an unknown create counts as not done.
constexpr uint32_t kCleanLists = 2;
// Tries at deleting orphans before the rotation is put off.
constexpr uint32_t kSweepTries = 3;
constexpr absl::Duration kOperatorLook = absl::Minutes(5);

// One transition: what Advance builds its answer with.
class Transition {
 public:
  Transition(RotationRecord record, const Facts& facts) : facts_(facts) {
    step_.record = std::move(record);
  }

  Step Run(const Event& event);

 private:
  RotationRecord& row() { return step_.record; }

  // Enters a state: the row is journaled, and counters of the state before start over.
  void Enter(State state) {
    row().state = std::string(StateName(state));
    row().step_failures = 0;
    row().clean_lists = 0;
    Touch();
  }
  void Touch() {
    if (!step_.journal) ++row().fence;
    step_.journal = true;
  }
  void WaitFor(absl::Duration wait) { step_.effect = Wait{facts_.now + wait}; }
  void End(Ending ending, const CallResult& result = {Outcome::kOk, "", 0, {}}) {
    Touch();
    row().last_error = result.cause;
    step_.effect = Close{ending, result.cause, result.http_status, result.retry_after};
  }
  // A call that has to be repeated until it works.
  void Retry(const CallResult& result) {
    ++row().step_failures;
    row().last_error = result.cause;
    WaitFor(std::max(facts_.retry_wait, result.retry_after));
  }
  void Raise(FailureCode code, const CallResult& result, std::string detail = "") {
    step_.alert = Alert{code, result.cause, result.http_status, std::move(detail)};
  }

  void Resume(State state);
  void Checking(const ListReplied& reply);
  void Sweeping(const Event& event);
  void Creating(const CreateReplied& reply);
  void EnterReconcile(absl::string_view cause);
  void Reconcile(const ListReplied& reply);
  void Ambiguous(size_t candidates);
  void Minted(const VerifyReplied& reply);
  void AbortNew(const CallResult& why);
  void Promote();
  void RevokeOld();
  void Revoking(const Event& event);
  void Dying(const VerifyReplied& reply);
  void Aborting(const Event& event);
  void Mint(std::string id, base::CredentialValue value, absl::Time expires_at);

  const Facts& facts_;
  Step step_;
};

Step Transition::Run(const Event& event) {
  const State state = ParseState(row().state);
  if (std::holds_alternative<Restarted>(event)) {
    // Whatever was under way when the process ended may or may not have happened.
    Touch();
    if (state == State::kCreating) {
      EnterReconcile("restarted");
    } else {
      Resume(state);
    }
    return std::move(step_);
  }
  if (std::holds_alternative<Due>(event)) {
    Resume(state);
    return std::move(step_);
  }
  const auto* created = std::get_if<CreateReplied>(&event);
  const auto* listed = std::get_if<ListReplied>(&event);
  const auto* verified = std::get_if<VerifyReplied>(&event);
  switch (state) {
    case State::kChecking:
      if (listed != nullptr) Checking(*listed);
      break;
    case State::kSweeping:
      Sweeping(event);
      break;
    case State::kCreating:
      if (created != nullptr) Creating(*created);
      break;
    case State::kReconcile:
    case State::kOperator:
      if (listed != nullptr) Reconcile(*listed);
      break;
    case State::kMinted:
      if (verified != nullptr) Minted(*verified);
      break;
    case State::kVerified:
    case State::kRetiring:
      break;
    case State::kRevoking:
      Revoking(event);
      break;
    case State::kDying:
      if (verified != nullptr) Dying(*verified);
      break;
    case State::kAborting:
      Aborting(event);
      break;
  }
  return std::move(step_);
}

// What a state does on its own, after a wait or a restart. Every call made here can be repeated
// without harm; create, which cannot, is never made here.
void Transition::Resume(State state) {
  switch (state) {
    case State::kChecking:
    case State::kOperator:
      step_.effect = CallList{};
      return;
    case State::kCreating:
      EnterReconcile("interrupted");
      return;
    case State::kReconcile:
      if (facts_.now < row().settle_until) {
        step_.effect = Wait{row().settle_until};
      } else {
        step_.effect = CallList{};
      }
      return;
    case State::kMinted:
      step_.effect = CallVerifyNew{};
      return;
    case State::kVerified:
      Promote();
      return;
    case State::kRetiring:
      if (!facts_.grace_over) {
        // By the wall clock the grace may be over when by the other it is not: look again soon.
        step_.effect = Wait{std::max(row().grace_until, facts_.now + absl::Seconds(1))};
        return;
      }
      Enter(State::kRevoking);
      RevokeOld();
      return;
    case State::kRevoking:
      RevokeOld();
      return;
    case State::kDying:
      if (facts_.now < row().dead_by) {
        step_.effect = Wait{row().dead_by};
      } else {
        step_.effect = CallVerifyOld{};
      }
      return;
    case State::kSweeping:
    case State::kAborting:
      if (row().abort_ids.empty()) {
        step_.effect = CallList{};
      } else {
        step_.effect = CallRevoke{row().abort_ids.front()};
      }
      return;
  }
}

void Transition::Checking(const ListReplied& reply) {
  if (reply.result.outcome != Outcome::kOk) {
    End(Ending::kUnavailable, reply.result);
    return;
  }
  const Unaccounted unaccounted = UnaccountedOf(reply.keys, facts_);
  if (!unaccounted.orphans.empty()) {
    Enter(State::kSweeping);
    row().abort_ids = unaccounted.orphans;
    step_.effect = CallRevoke{row().abort_ids.front()};
    return;
  }
  if (unaccounted.unknown > 0) {
    Raise(FailureCode::kUnknownKey, {Outcome::kOk, "unknown_key", 0, {}},
          absl::StrCat("the provider lists ", unaccounted.unknown,
                       " key(s) that no credential accounts for; delete them there if nobody uses "
                       "them, or set `exclusive: true` if all keys belong to this credential"));
  } else {
    step_.resolved.push_back(FailureCode::kUnknownKey);
  }
  if (facts_.sweep_only) {
    End(Ending::kSwept);
    return;
  }
  if (facts_.traits.key_limit > 0 && reply.keys.size() + 1 > facts_.traits.key_limit) {
    End(Ending::kBlocked, {Outcome::kLimited, "key_limit", 0, {}});
    return;
  }
  Enter(State::kCreating);
  row().abort_ids.clear();
  row().seen_before.clear();
  for (const providers::ListedKey& key : reply.keys) {
    row().seen_before.push_back(key.id);
    // A key a person brought comes without its id; a list that shows secrets gives it away.
    if (row().old_key_id.empty() && !facts_.current_value.empty() && !key.value.empty() &&
        *key.value.Primary() == *facts_.current_value.Primary()) {
      row().old_key_id = key.id;
    }
  }
  row().sent_at = facts_.now;
  step_.effect = CallCreate{};
}

void Transition::Sweeping(const Event& event) {
  if (const auto* revoked = std::get_if<RevokeReplied>(&event)) {
    if (revoked->result.outcome != Outcome::kOk) row().last_error = revoked->result.cause;
    step_.effect = CallList{};  // whatever the reply, the list tells
    return;
  }
  const auto* listed = std::get_if<ListReplied>(&event);
  if (listed == nullptr) return;
  if (listed->result.outcome == Outcome::kOk) {
    const std::vector<std::string> orphans = UnaccountedOf(listed->keys, facts_).orphans;
    if (orphans.empty()) {
      step_.resolved.push_back(FailureCode::kRevokeFailed);
      Checking(*listed);
      return;
    }
    if (orphans.size() < row().abort_ids.size()) row().step_failures = 0;
    row().abort_ids = orphans;
    Touch();
  }
  Retry(listed->result);
  if (row().step_failures > kSweepTries) {
    Raise(FailureCode::kRevokeFailed, listed->result,
          "keys left over from an earlier attempt could not be deleted at the provider");
    End(Ending::kUnavailable, {Outcome::kTransient, "orphans_left", 0, {}});
  }
}

void Transition::Creating(const CreateReplied& reply) {
  switch (reply.result.outcome) {
    case Outcome::kOk:
      // An id that was there before or belongs to another key cannot be what we made.
      if (!reply.key || facts_.known_ids.count(reply.key->id) != 0 ||
          std::find(row().seen_before.begin(), row().seen_before.end(), reply.key->id) !=
              row().seen_before.end()) {
        EnterReconcile("unreadable_reply");
        return;
      }
      Mint(reply.key->id, reply.key->value, reply.key->expires_at.value_or(store::kNever));
      return;
    case Outcome::kUnknown:
      EnterReconcile(reply.result.cause);
      return;
    case Outcome::kRejected:
      return End(Ending::kRefused, reply.result);
    case Outcome::kLimited:
      return End(Ending::kBlocked, reply.result);
    case Outcome::kTransient:
      return End(Ending::kUnavailable, reply.result);
  }
}

void Transition::Mint(std::string id, base::CredentialValue value, absl::Time expires_at) {
  Enter(State::kMinted);
  row().new_key_id = std::move(id);
  row().new_value = std::move(value);
  row().new_expires_at = expires_at;
  row().verify_until = facts_.now + facts_.traits.propagation;
  step_.version = VersionChange::kMint;
  step_.effect = CallVerifyNew{};
}

void Transition::EnterReconcile(absl::string_view cause) {
  Enter(State::kReconcile);
  row().last_error = std::string(cause);
  // From now, not from sent_at: after a restart nobody knows when the request left.
  row().settle_until = facts_.now + facts_.traits.settle;
  step_.effect = Wait{row().settle_until};
}

void Transition::Reconcile(const ListReplied& reply) {
  if (reply.result.outcome != Outcome::kOk) {
    Retry(reply.result);
    return;
  }
  const Candidates found = CandidatesOf(row(), reply.keys, facts_);
  if (found.keys.empty()) {
    if (++row().clean_lists < kCleanLists) {
      WaitFor(std::min(facts_.traits.settle, facts_.retry_wait));
      return;
    }
    step_.resolved.push_back(FailureCode::kRotationAmbiguous);
    End(Ending::kNothingCreated, {Outcome::kUnknown, row().last_error, 0, {}});
    return;
  }
  row().clean_lists = 0;
  if (!found.certain) {
    Ambiguous(found.keys.size());
    return;
  }
  step_.resolved.push_back(FailureCode::kRotationAmbiguous);
  const bool listed = facts_.traits.provider_class == providers::ProviderClass::kListed;
  if (listed && found.keys.size() == 1 && !found.keys.front().value.empty()) {
    Mint(found.keys.front().id, found.keys.front().value, store::kNever);
    return;
  }
  Enter(State::kAborting);
  row().abort_ids.clear();
  for (const providers::ListedKey& key : found.keys) row().abort_ids.push_back(key.id);
  step_.effect = CallRevoke{row().abort_ids.front()};
}

void Transition::Ambiguous(size_t candidates) {
  Raise(FailureCode::kRotationAmbiguous, {Outcome::kUnknown, row().last_error, 0, {}},
        absl::StrCat("a create request had no clear outcome and ", candidates,
                     " new key(s) are listed that may be Keyturn's or somebody else's; delete at "
                     "the provider those nobody else made, or set `exclusive: true`; the old key "
                     "is still served"));
  if (ParseState(row().state) != State::kOperator) Enter(State::kOperator);
  WaitFor(kOperatorLook);
}

void Transition::Minted(const VerifyReplied& reply) {
  switch (reply.result.outcome) {
    case Outcome::kOk:
      Enter(State::kVerified);
      step_.resolved.push_back(FailureCode::kVerifyFailed);
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
  Raise(FailureCode::kVerifyFailed, why, "the provider rejects the key it has just made");
  Enter(State::kAborting);
  row().abort_ids = {row().new_key_id};
  step_.version = VersionChange::kDropNew;
  step_.effect = CallRevoke{row().new_key_id};
}

void Transition::Promote() {
  step_.version = VersionChange::kPromote;
  step_.resolved = {FailureCode::kRotationFailed, FailureCode::kRotationBlockedLimit,
                    FailureCode::kRotationOverdue};
  if (row().old_version == 0) {
    End(Ending::kDone);
    return;
  }
  Enter(State::kRetiring);
  row().grace_until = facts_.now + facts_.grace;
  step_.effect = Wait{row().grace_until};
}

void Transition::RevokeOld() {
  if (!row().old_key_id.empty()) {
    step_.effect = CallRevoke{row().old_key_id};
    return;
  }
  Raise(FailureCode::kRevokeFailed, {Outcome::kOk, "key_id_unknown", 0, {}},
        "the old key was stored without the provider's id for it; revoke it at the provider");
  step_.version = VersionChange::kRevokeOld;
  End(Ending::kDone);
}

void Transition::Revoking(const Event& event) {
  if (const auto* revoked = std::get_if<RevokeReplied>(&event)) {
    if (revoked->result.outcome == Outcome::kOk) {
      step_.effect = CallList{};
      return;
    }
    // Asking again for the same exact id does no harm, whatever the outcome was.
    Retry(revoked->result);
    Raise(FailureCode::kRevokeFailed, revoked->result);
    return;
  }
  const auto* listed = std::get_if<ListReplied>(&event);
  if (listed == nullptr) return;
  const bool present = std::any_of(listed->keys.begin(), listed->keys.end(),
                                   [this](const auto& key) { return key.id == row().old_key_id; });
  if (listed->result.outcome != Outcome::kOk || present) {
    Retry(listed->result);
    if (present) {
      Raise(FailureCode::kRevokeFailed, {Outcome::kOk, "still_listed", 0, {}});
    }
    return;
  }
  step_.resolved.push_back(FailureCode::kRevokeFailed);
  if (facts_.traits.cached_for > absl::ZeroDuration() && facts_.traits.can_verify) {
    Enter(State::kDying);
    row().dead_by = facts_.now + facts_.traits.cached_for;
    step_.effect = Wait{row().dead_by};
    return;
  }
  step_.version = VersionChange::kRevokeOld;
  End(Ending::kDone);
}

void Transition::Dying(const VerifyReplied& reply) {
  if (reply.result.outcome == Outcome::kRejected) {
    step_.version = VersionChange::kRevokeOld;
    End(Ending::kDone);
    return;
  }
  if (reply.result.outcome != Outcome::kOk) {
    Retry(reply.result);
    return;
  }
  // Alive past its time: a request may have put it back into the provider's cache. Delete again and
  // give the cache its time once more.
  Raise(FailureCode::kRevokeFailed, {Outcome::kOk, "still_accepted", 0, {}},
        "the provider still accepts the deleted key");
  Enter(State::kRevoking);
  RevokeOld();
}

void Transition::Aborting(const Event& event) {
  if (const auto* revoked = std::get_if<RevokeReplied>(&event)) {
    if (revoked->result.outcome != Outcome::kOk) row().last_error = revoked->result.cause;
    step_.effect = CallList{};
    return;
  }
  const auto* listed = std::get_if<ListReplied>(&event);
  if (listed == nullptr) return;
  if (listed->result.outcome != Outcome::kOk) {
    Retry(listed->result);
    return;
  }
  std::vector<std::string> left;
  for (const providers::ListedKey& key : listed->keys) {
    const bool ours =
        std::find(row().abort_ids.begin(), row().abort_ids.end(), key.id) != row().abort_ids.end();
    if (ours) left.push_back(key.id);
  }
  // More of our keys may have appeared since.
  const Candidates late = CandidatesOf(row(), listed->keys, facts_);
  if (late.certain) {
    for (const providers::ListedKey& key : late.keys) {
      if (std::find(left.begin(), left.end(), key.id) == left.end()) left.push_back(key.id);
    }
  }
  if (left.empty()) {
    step_.resolved.push_back(FailureCode::kRevokeFailed);
    End(Ending::kAborted, {Outcome::kUnknown, row().last_error, 0, {}});
    return;
  }
  const bool progress = left != row().abort_ids;
  row().abort_ids = left;
  Touch();
  if (progress) {
    step_.effect = CallRevoke{left.front()};
    return;
  }
  Retry({Outcome::kOk, "still_listed", 0, {}});
  Raise(FailureCode::kRevokeFailed, {Outcome::kOk, "still_listed", 0, {}});
}

}  // namespace

Step Advance(RotationRecord record, const Event& event, const Facts& facts) {
  return Transition(std::move(record), facts).Run(event);
}

}  // namespace keyturn::lifecycle::rotation

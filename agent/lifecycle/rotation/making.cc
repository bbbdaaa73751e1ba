// SPDX-License-Identifier: Apache-2.0
// How a new key comes to be beside the old one: look, create, and after a create of unknown outcome
// find out. What differs between the classes is how one finds out.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/rotation/transition.h"

namespace keyturn::lifecycle::rotation {
namespace {

using observe::FailureCode;
using providers::ListedKey;
using providers::Outcome;

// How many lists in a row must show nothing before an unknown create counts as not done.
constexpr uint32_t kCleanLists = 2;
// Tries at deleting orphans before the rotation is put off.
constexpr uint32_t kSweepTries = 3;
constexpr absl::Duration kOperatorLook = absl::Minutes(5);

bool Holds(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

std::vector<ListedKey> AliveOf(const std::vector<ListedKey>& listed) {
  std::vector<ListedKey> alive;
  for (const ListedKey& key : listed) {
    if (!key.dead) alive.push_back(key);
  }
  return alive;
}

void Transition::Begin() {
  if (Is(Class::kManual)) return End(Ending::kSwept);  // a person brings the next key
  if (EndsTheOld() && !facts_.allow_gap) {
    return End(Ending::kRefused, {Outcome::kRejected, "gap_not_allowed", 0, {}});
  }
  if (Is(Class::kSelfRoll) && facts_.current_value.empty()) {
    return End(Ending::kRefused, {Outcome::kRejected, "no_value_yet", 0, {}});
  }
  if (facts_.traits.can_list) {
    step_.effect = CallList{};
  } else if (facts_.sweep_only) {
    End(Ending::kSwept);
  } else {
    SendCreate();
  }
}

void Transition::Checking(const ListReplied& reply) {
  if (reply.result.outcome != Outcome::kOk) return End(Ending::kUnavailable, reply.result);
  if (Is(Class::kDualSlot)) return CheckSlots(reply.keys);
  const std::vector<ListedKey> alive = AliveOf(reply.keys);
  if (EndsTheOld()) {
    // Beside the one key that is rolled, whatever is listed is somebody else's business.
    if (facts_.sweep_only) return End(Ending::kSwept);
    Remember(alive);
    return SendCreate();
  }
  CheckAccounts(alive);
}

void Transition::CheckAccounts(const std::vector<ListedKey>& alive) {
  const Unaccounted unaccounted = UnaccountedOf(alive, facts_);
  if (!unaccounted.orphans.empty()) {
    Enter(State::kSweeping);
    row().abort_ids = unaccounted.orphans;
    step_.effect = CallRevoke{row().abort_ids.front()};
    return;
  }
  if (unaccounted.unknown.empty() || facts_.disown) {
    Resolve(FailureCode::kUnknownKey);
  } else {
    Raise(FailureCode::kUnknownKey, {Outcome::kOk, "unknown_key", 0, {}},
          absl::StrCat("the provider lists ", unaccounted.unknown.size(),
                       " key(s) that no credential accounts for; delete them there if nobody uses "
                       "them, set `exclusive: true` if all keys belong to this credential, or say "
                       "that they are somebody else's: keyturn disown ",
                       row().credential));
  }
  if (facts_.disown || facts_.sweep_only) {
    End(Ending::kSwept);
    if (facts_.disown) std::get<Close>(step_.effect).disowned = unaccounted.unknown;
    return;
  }
  const auto unlisted =
      std::count_if(facts_.young_ids.begin(), facts_.young_ids.end(),
                    [&](const std::string& id) { return Find(alive, id) == nullptr; });
  const size_t keys = alive.size() + static_cast<size_t>(unlisted);
  if (facts_.traits.key_limit > 0 && keys + 1 > facts_.traits.key_limit) {
    return End(Ending::kBlocked, {Outcome::kLimited, "key_limit", 0, {}});
  }
  Remember(alive);
  SendCreate();
}

// What there was before, so that what is new can be told.
void Transition::Remember(const std::vector<ListedKey>& alive) {
  row().seen_before.clear();
  for (const ListedKey& key : alive) {
    row().seen_before.push_back(key.id);
    // A key a person brought comes without its id; a list that shows secrets gives it away.
    if (row().old_key_id.empty() && !facts_.current_value.empty() && !key.value.empty() &&
        *key.value.Primary() == *facts_.current_value.Primary()) {
      row().old_key_id = key.id;
    }
  }
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
      Resolve(FailureCode::kRevokeFailed);
      row().abort_ids.clear();
      return CheckAccounts(AliveOf(listed->keys));
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

// The first time, or where sending the same again does no harm.
void Transition::SendCreate() {
  Enter(State::kCreating);
  row().abort_ids.clear();
  if (Is(Class::kChosen)) {
    row().target = row().old_key_id;
    if (row().new_value.empty()) {
      row().new_value = base::CredentialValue::Of(facts_.fresh_secret);
    }
  } else if (Is(Class::kRoll) && row().target.empty()) {
    row().target = row().old_key_id;
  }
  ++row().creates;
  row().sent_at = facts_.now;
  step_.effect = CallCreate{};
}

void Transition::Creating(const CreateReplied& reply) {
  // Of an earlier call of this row nobody knows what became of it.
  const bool in_doubt = row().creates > 1;
  switch (reply.result.outcome) {
    case Outcome::kOk: {
      if (!reply.key || !IsNew(*reply.key) || IsDead(*reply.key)) {
        return EnterReconcile("unreadable_reply");
      }
      const absl::Time expires = reply.key->expires_at.value_or(store::kNever);
      const std::string id = reply.key->id.empty() ? row().target : reply.key->id;
      return EndsTheOld() ? Replace(id, reply.key->value, expires)
                          : Mint(id, reply.key->value, expires);
    }
    case Outcome::kUnknown:
      return EnterReconcile(reply.result.cause);
    case Outcome::kRejected:
    case Outcome::kLimited:
    case Outcome::kTransient:
      break;
  }
  if (Is(Class::kSelfRoll) && reply.result.outcome == Outcome::kRejected) {
    // A key that is refused may be one that was replaced: by a request that came late, or by
    // somebody else. The key itself tells; it is not sent a third time.
    EnterReconcile(reply.result.cause);
    row().creates = std::max(row().creates, 2u);
    return;
  }
  if (in_doubt && (Is(Class::kChosen) || EndsTheOld())) {
    // The earlier call may have had its effect: the row, which alone knows of it (of the secret, or
    // of the id that a rolled key was given), stays open.
    return EnterReconcile(reply.result.cause);
  }
  End(reply.result.outcome == Outcome::kRejected  ? Ending::kRefused
      : reply.result.outcome == Outcome::kLimited ? Ending::kBlocked
                                                  : Ending::kUnavailable,
      reply.result);
}

// An id that was there before or belongs to another key cannot be what we made.
bool Transition::IsNew(const providers::MintedKey& key) const {
  const store::RotationRecord& row = step_.record;
  switch (facts_.traits.provider_class) {
    case Class::kRoll:
    case Class::kSelfRoll:
      return true;
    case Class::kDualSlot:
      return key.id.empty() || key.id == row.target;
    case Class::kChosen:
      return !key.id.empty() && key.id != row.old_key_id;
    default:
      return facts_.known_ids.count(key.id) == 0 && !Holds(row.seen_before, key.id);
  }
}

// Handed out, it would serve nobody; and a service that makes such keys may mean something else.
bool Transition::IsDead(const providers::MintedKey& key) const {
  return key.expires_at.has_value() && *key.expires_at <= facts_.now;
}

void Transition::Mint(std::string id, base::CredentialValue value, absl::Time expires_at) {
  Enter(State::kMinted);
  Resolve(FailureCode::kRotationAmbiguous);
  row().new_key_id = std::move(id);
  row().new_value = std::move(value);
  row().new_expires_at = expires_at;
  row().verify_until = facts_.now + facts_.traits.propagation;
  step_.version = VersionChange::kMint;
  step_.effect = CallVerifyNew{};
}

void Transition::EnterReconcile(absl::string_view cause) {
  if (facts_.traits.expires_by_itself > absl::ZeroDuration() && !facts_.traits.can_list) {
    // Nothing can be found out, and whatever was made dies by itself.
    return End(Ending::kNothingCreated, {Outcome::kUnknown, std::string(cause), 0, {}});
  }
  Enter(State::kReconcile);
  row().last_error = std::string(cause);
  // From now, not from sent_at: after a restart nobody knows when the request left.
  row().settle_until = facts_.now + facts_.traits.settle;
  step_.effect = Wait{row().settle_until};
}

void Transition::ResumeReconcile() {
  if (facts_.now < row().settle_until) {
    step_.effect = Wait{row().settle_until};
    return;
  }
  if (Is(Class::kSelfRoll)) {
    step_.effect = CallVerifyOld{};
  } else if (Is(Class::kChosen)) {
    if (row().creates > 1) {
      Raise(FailureCode::kRotationAmbiguous, {Outcome::kUnknown, row().last_error, 0, {}},
            "the outcome of setting the new secret is still unknown; the same one is sent again "
            "until the provider answers; the old key is still served");
    }
    SendCreate();
  } else if (Is(Class::kRoll) && !facts_.traits.can_list) {
    ReconcileRoll({});
  } else {
    step_.effect = CallList{};
  }
}

void Transition::Reconcile(const ListReplied& reply) {
  if (reply.result.outcome != Outcome::kOk) return Retry(reply.result);
  if (Is(Class::kDualSlot)) return ReconcileSlots(reply.keys);
  if (Is(Class::kRoll)) return ReconcileRoll(AliveOf(reply.keys));
  const Candidates found = CandidatesOf(row(), reply.keys, facts_);
  if (found.keys.empty()) return NothingCreated();
  row().clean_lists = 0;
  if (!found.certain) return Ambiguous(found);
  Resolve(FailureCode::kRotationAmbiguous);
  if (Is(Class::kListed) && found.keys.size() == 1 && !found.keys.front().value.empty()) {
    Mint(found.keys.front().id, found.keys.front().value, store::kNever);
    return;
  }
  Enter(State::kAborting);
  row().abort_ids.clear();
  for (const ListedKey& key : found.keys) row().abort_ids.push_back(key.id);
  step_.effect = CallRevoke{row().abort_ids.front()};
}

void Transition::NothingCreated() {
  if (++row().clean_lists < kCleanLists) {
    return WaitFor(std::min(facts_.traits.settle, facts_.retry_wait));
  }
  Resolve(FailureCode::kRotationAmbiguous);
  End(Ending::kNothingCreated, {Outcome::kUnknown, row().last_error, 0, {}});
}

void Transition::Ambiguous(const Candidates& found) {
  if (facts_.disown) {
    Resolve(FailureCode::kRotationAmbiguous);
    End(Ending::kNothingCreated, {Outcome::kUnknown, row().last_error, 0, {}});
    for (const ListedKey& key : found.keys) {
      std::get<Close>(step_.effect).disowned.push_back(key.id);
    }
    return;
  }
  Raise(FailureCode::kRotationAmbiguous, {Outcome::kUnknown, row().last_error, 0, {}},
        absl::StrCat(
            "a create request had no clear outcome and ", found.keys.size(),
            " new key(s) are listed that may be Keyturn's or somebody else's; delete at "
            "the provider those nobody else made, set `exclusive: true` if all keys belong to this "
            "credential, or say that none of them is Keyturn's: keyturn "
            "disown ",
            row().credential, "; the old key is still served"));
  if (ParseState(row().state) != State::kOperator) Enter(State::kOperator);
  WaitFor(kOperatorLook);
}

void Transition::Aborting(const Event& event) {
  if (const auto* revoked = std::get_if<RevokeReplied>(&event)) {
    const bool ok = revoked->result.outcome == Outcome::kOk;
    if (!ok) row().last_error = revoked->result.cause;
    if (facts_.traits.can_list) {
      step_.effect = CallList{};
    } else if (ok) {
      FinishAbort();
    } else {
      RetryRevoke(revoked->result);
      Raise(FailureCode::kRevokeFailed, revoked->result);
    }
    return;
  }
  const auto* listed = std::get_if<ListReplied>(&event);
  if (listed == nullptr) return;
  if (listed->result.outcome != Outcome::kOk) return Retry(listed->result);
  std::vector<std::string> left;
  for (const ListedKey& key : listed->keys) {
    if (!key.dead && Holds(row().abort_ids, key.id)) left.push_back(key.id);
  }
  // More of our keys may have appeared since.
  const Candidates late = CandidatesOf(row(), listed->keys, facts_);
  if (late.certain) {
    for (const ListedKey& key : late.keys) {
      if (!Holds(left, key.id)) left.push_back(key.id);
    }
  }
  if (left.empty()) return FinishAbort();
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

void Transition::FinishAbort() {
  Resolve(FailureCode::kRevokeFailed);
  End(Ending::kAborted, {Outcome::kUnknown, row().last_error, 0, {}});
}

}  // namespace keyturn::lifecycle::rotation

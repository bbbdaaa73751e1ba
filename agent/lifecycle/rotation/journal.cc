// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/rotation/journal.h"

#include <utility>

#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle::rotation {
namespace {

// A late effect after this is beyond any settle time; the tag need not be remembered any longer.
constexpr absl::Duration kTagKept = absl::Hours(30 * 24);
// Ended versions that are kept for `keyturn show`.
constexpr size_t kEndedKept = 10;

using store::VersionRecord;
using store::VersionState;

class Builder {
 public:
  Builder(const Ledger& ledger, const CredentialState& credential, Step& step,
          const JournalContext& context)
      : ledger_(ledger),
        state_(credential),
        step_(step),
        context_(context),
        credential_(credential.record) {}

  store::Transaction Build() {
    ChangeVersions();
    if (const auto* close = std::get_if<Close>(&step_.effect)) {
      CloseRow(*close);
    } else {
      transaction_.Put(step_.record);
    }
    // Also when it is the same as before. The row of a rotation comes and goes, so whether there is
    // one says nothing about what happened since; the revision of this one does. Another agent's
    // step, decided by what this one changes, is refused by it.
    transaction_.Put(credential_);
    return std::move(transaction_);
  }

 private:
  void End(uint64_t number, VersionState state) {
    const VersionRecord* version = state_.Version(number);
    if (version == nullptr) return;
    VersionRecord ended = *version;
    ended.state = state;
    ended.value = {};
    ended.ended_at = context_.now;
    transaction_.Put(std::move(ended));
    PruneEnded();
  }

  void PruneEnded() {
    size_t ended = 0;
    for (auto it = state_.versions.rbegin(); it != state_.versions.rend(); ++it) {
      const bool over =
          it->second.state == VersionState::kRevoked || it->second.state == VersionState::kFailed;
      if (over && ++ended >= kEndedKept) {
        transaction_.Delete(store::VersionKey(credential_.name, it->first));
      }
    }
  }

  void ChangeVersions() {
    store::RotationRecord& row = step_.record;
    switch (step_.version) {
      case VersionChange::kNone:
        return;
      case VersionChange::kMint:
        transaction_.Put(Minted());
        return;
      case VersionChange::kPromote:
        Promote(row);
        return;
      case VersionChange::kDropNew:
        End(row.new_version, VersionState::kFailed);
        return;
      case VersionChange::kRevokeOld:
        End(row.old_version, VersionState::kRevoked);
        credential_.retiring_version = 0;
        return;
      case VersionChange::kReplace:
        Replace(row);
        return;
      case VersionChange::kSwap:
        Retire(row);
        MakeCurrent(row.new_version);
        AddHistory("undone", row.new_version, "");
        return;
      case VersionChange::kLoseCurrent:
        End(credential_.current_version, VersionState::kFailed);
        credential_.current_version = 0;
        return;
    }
  }

  VersionRecord Minted() {
    store::RotationRecord& row = step_.record;
    VersionRecord minted;
    minted.credential = credential_.name;
    minted.number = ++credential_.last_version;
    minted.value = row.new_value;
    minted.provider_key_id = row.new_key_id;
    minted.created_at = context_.now;
    minted.requested_at = row.sent_at;
    minted.expires_at = row.new_expires_at;
    row.new_version = minted.number;
    row.new_value = {};  // the version holds it now
    return minted;
  }

  // The version that is current until now, or was, gets its grace.
  void Retire(const store::RotationRecord& row) {
    if (const VersionRecord* version = state_.Version(row.old_version)) {
      VersionRecord old = *version;
      old.state = VersionState::kRetiring;
      old.grace_until = row.grace_until;
      // The check may have learned it from the list.
      if (old.provider_key_id.empty()) old.provider_key_id = row.old_key_id;
      transaction_.Put(std::move(old));
    }
    credential_.retiring_version = row.old_version;
  }

  void MakeCurrent(uint64_t number) {
    absl::Time expires_at = store::kNever;
    if (const VersionRecord* version = state_.Version(number)) {
      VersionRecord current = *version;
      current.state = VersionState::kCurrent;
      current.promoted_at = context_.now;
      current.grace_until = store::kNever;
      expires_at = current.expires_at;
      transaction_.Put(std::move(current));
    }
    TakeOver(number, expires_at);
  }

  void TakeOver(uint64_t number, absl::Time expires_at) {
    credential_.current_version = number;
    credential_.last_rotated = context_.now;
    credential_.next_due =
        NextRotation(credential_.spec.rotate(), credential_.name, context_.now, expires_at);
    credential_.ClearFailure();
  }

  void Promote(const store::RotationRecord& row) {
    Retire(row);
    MakeCurrent(row.new_version);
    AddHistory("succeeded", row.new_version, "");
  }

  // In the place of the old one, which is dead.
  void Replace(const store::RotationRecord& row) {
    VersionRecord current = Minted();
    current.state = VersionState::kCurrent;
    current.promoted_at = context_.now;
    TakeOver(current.number, current.expires_at);
    transaction_.Put(std::move(current));
    End(row.old_version, VersionState::kRevoked);
    AddHistory("succeeded", row.new_version, "");
  }

  void AddHistory(std::string outcome, uint64_t version, std::string detail) {
    store::HistoryRecord entry;
    entry.credential = credential_.name;
    entry.at = context_.now;
    entry.started_at = step_.record.started_at;
    entry.what = "rotation";
    entry.outcome = std::move(outcome);
    entry.version = version;
    entry.detail = std::move(detail);
    ledger_.AddHistory(transaction_, std::move(entry));
  }

  void CloseRow(const Close& close) {
    const store::RotationRecord& row = step_.record;
    transaction_.Delete(store::RotationKey(credential_.name));
    if (context_.tagged && row.sent_at > store::kNever) {
      transaction_.Put(store::TagRecord{credential_.name, row.tag, context_.now + kTagKept});
    }
    for (const auto& [tag, record] : state_.tags) {
      if (record.keep_until < context_.now) {
        transaction_.Delete(store::TagKey(credential_.name, tag));
      }
    }
    for (const std::string& id : close.disowned) {
      credential_.disowned_key_ids.push_back(id);
    }
    // A key that was lost is a failure whoever looked.
    if (!IsFailure(close.ending)) return;
    if (context_.sweep_only && close.ending != Ending::kLost) return;
    ++credential_.consecutive_failures;
    credential_.failure_code = observe::FailureCodeName(FailureOf(close.ending));
    credential_.failure_detail = close.cause;
    if (credential_.failure_since == store::kNever) credential_.failure_since = context_.now;
    credential_.next_due = context_.retry_at;
    AddHistory(std::string(EndingName(close.ending)), 0, close.cause);
  }

  const Ledger& ledger_;
  const CredentialState& state_;
  Step& step_;
  const JournalContext& context_;
  store::CredentialRecord credential_;
  store::Transaction transaction_;
};

}  // namespace

bool IsFailure(Ending ending) { return ending != Ending::kDone && ending != Ending::kSwept; }

observe::FailureCode FailureOf(Ending ending) {
  return ending == Ending::kBlocked ? observe::FailureCode::kRotationBlockedLimit
                                    : observe::FailureCode::kRotationFailed;
}

store::Transaction TransactionFor(const Ledger& ledger, const CredentialState& credential,
                                  Step& step, const JournalContext& context) {
  return Builder(ledger, credential, step, context).Build();
}

}  // namespace keyturn::lifecycle::rotation

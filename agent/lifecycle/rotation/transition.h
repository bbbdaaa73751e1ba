// SPDX-License-Identifier: Apache-2.0
// One transition of the rotation state machine while it is being made: the row, the facts, and the
// step that comes of them. Its parts lie by phase: making.cc (how a key comes to be where the old
// one stays), replacing.cc (where the new one takes the old one's place), retiring.cc (verify,
// promote, grace, death of the old one). Private to the state machine; pure.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "agent/lifecycle/rotation/candidates.h"
#include "agent/lifecycle/rotation/state_machine.h"

namespace keyturn::lifecycle::rotation {

class Transition {
 public:
  Transition(store::RotationRecord record, const Facts& facts) : facts_(facts) {
    step_.record = std::move(record);
  }

  Step Run(const Event& event);

 private:
  using CallResult = providers::CallResult;
  using Class = providers::ProviderClass;

  store::RotationRecord& row() { return step_.record; }
  bool Is(Class c) const { return facts_.traits.provider_class == c; }
  // Classes where the new key ends the old one in the moment it is made.
  bool EndsTheOld() const { return Is(Class::kRoll) || Is(Class::kSelfRoll); }

  // Classes where a place that is emptied is filled again by a later rotation: there a request of
  // unknown outcome must be given its time before anything else happens in that place.
  bool ReusesPlaces() const { return Is(Class::kDualSlot) || Is(Class::kChosen); }

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
  void End(Ending ending, const CallResult& result = {providers::Outcome::kOk, "", 0, {}}) {
    Touch();
    row().last_error = result.cause;
    step_.effect = Close{ending, result.cause, result.http_status, result.retry_after, {}};
  }
  // A call that has to be repeated until it works.
  void Retry(const CallResult& result) {
    ++row().step_failures;
    row().last_error = result.cause;
    WaitFor(std::max(facts_.retry_wait, result.retry_after));
  }
  // The same for a call that empties a place.
  void RetryRevoke(const CallResult& result) {
    Retry(result);
    if (ReusesPlaces()) {
      WaitFor(std::max({facts_.retry_wait, result.retry_after, facts_.traits.settle}));
    }
  }
  void Raise(observe::FailureCode code, const CallResult& result, std::string detail = "") {
    step_.alert = Alert{code, result.cause, result.http_status, std::move(detail)};
  }
  void Resolve(observe::FailureCode code) { step_.resolved.push_back(code); }

  void Resume(State state);
  void Restart(State state);
  void OnReply(State state, const Event& event);

  // making.cc
  void Begin();
  void Checking(const ListReplied& reply);
  void CheckAccounts(const std::vector<providers::ListedKey>& alive);
  void Remember(const std::vector<providers::ListedKey>& alive);
  void Sweeping(const Event& event);
  void SendCreate();
  void Creating(const CreateReplied& reply);
  bool IsNew(const providers::MintedKey& key) const;
  bool IsDead(const providers::MintedKey& key) const;
  void EnterReconcile(absl::string_view cause);
  void ResumeReconcile();
  void Reconcile(const ListReplied& reply);
  void NothingCreated();
  void Ambiguous(const Candidates& found);
  void Mint(std::string id, base::CredentialValue value, absl::Time expires_at);
  void Aborting(const Event& event);
  void FinishAbort();

  // replacing.cc
  void CheckSlots(const std::vector<providers::ListedKey>& slots);
  void ReconcileSlots(const std::vector<providers::ListedKey>& slots);
  void ReconcileRoll(const std::vector<providers::ListedKey>& alive);
  void ReconcileSelfRoll(const VerifyReplied& reply);
  void Replace(std::string id, base::CredentialValue value, absl::Time expires_at);
  void Proving(const VerifyReplied& reply);

  // retiring.cc
  void Minted(const VerifyReplied& reply);
  void AbortNew(const CallResult& why);
  void Promote();
  void ResumeRetiring();
  void Undo();
  void RevokeOld();
  void Revoking(const Event& event);
  void Revoked();
  void Dying(const VerifyReplied& reply);
  void OldIsGone();

  const Facts& facts_;
  Step step_;
};

// The keys that are not dead.
std::vector<providers::ListedKey> AliveOf(const std::vector<providers::ListedKey>& listed);

}  // namespace keyturn::lifecycle::rotation

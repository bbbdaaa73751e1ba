// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/rotation/state_machine.h"

#include "agent/lifecycle/rotation/transition.h"

namespace keyturn::lifecycle::rotation {

Step Transition::Run(const Event& event) {
  const State state = ParseState(row().state);
  if (std::holds_alternative<Restarted>(event)) {
    Restart(state);
  } else if (std::holds_alternative<Due>(event)) {
    Resume(state);
  } else if (std::holds_alternative<Undone>(event)) {
    if (state == State::kRetiring) {
      Undo();
    } else {
      Resume(state);
    }
  } else if (std::holds_alternative<Brought>(event)) {
    if (state != State::kChecking) return std::move(step_);
    row().sent_at = facts_.now;
    Mint(row().new_key_id, row().new_value, row().new_expires_at);
  } else {
    OnReply(state, event);
  }
  return std::move(step_);
}

// Whatever was under way when the process ended may or may not have happened.
void Transition::Restart(State state) {
  Touch();
  if (state == State::kCreating) {
    EnterReconcile("restarted");
  } else if (ReusesPlaces() && (state == State::kRevoking || state == State::kAborting)) {
    WaitFor(facts_.traits.settle);
  } else {
    Resume(state);
  }
}

void Transition::OnReply(State state, const Event& event) {
  const auto* created = std::get_if<CreateReplied>(&event);
  const auto* listed = std::get_if<ListReplied>(&event);
  const auto* verified = std::get_if<VerifyReplied>(&event);
  switch (state) {
    case State::kChecking:
      if (listed != nullptr) Checking(*listed);
      return;
    case State::kSweeping:
      return Sweeping(event);
    case State::kCreating:
      if (created != nullptr) Creating(*created);
      return;
    case State::kReconcile:
      if (verified != nullptr && Is(Class::kSelfRoll)) return ReconcileSelfRoll(*verified);
      [[fallthrough]];
    case State::kOperator:
      if (listed != nullptr) Reconcile(*listed);
      return;
    case State::kMinted:
      if (verified != nullptr) Minted(*verified);
      return;
    case State::kProving:
      if (verified != nullptr) Proving(*verified);
      return;
    case State::kVerified:
    case State::kRetiring:
      return;
    case State::kRevoking:
      return Revoking(event);
    case State::kDying:
      if (verified != nullptr) Dying(*verified);
      return;
    case State::kAborting:
      return Aborting(event);
  }
}

// What a state does on its own, after a wait or a restart. Every call made here can be repeated
// without harm.
void Transition::Resume(State state) {
  switch (state) {
    case State::kChecking:
      return Begin();
    case State::kOperator:
      step_.effect = CallList{};
      return;
    case State::kCreating:
      return EnterReconcile("interrupted");
    case State::kReconcile:
      return ResumeReconcile();
    case State::kMinted:
    case State::kProving:
      step_.effect = CallVerifyNew{};
      return;
    case State::kVerified:
      return Promote();
    case State::kRetiring:
      return ResumeRetiring();
    case State::kRevoking:
      return RevokeOld();
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

Step Advance(store::RotationRecord record, const Event& event, const Facts& facts) {
  return Transition(std::move(record), facts).Run(event);
}

}  // namespace keyturn::lifecycle::rotation

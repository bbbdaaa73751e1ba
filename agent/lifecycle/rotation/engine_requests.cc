// SPDX-License-Identifier: Apache-2.0
// What is asked of the engine from outside: to begin, to take back, to forget.
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/base/ids.h"
#include "agent/lifecycle/rotation/engine.h"

namespace keyturn::lifecycle::rotation {

Engine::Run Engine::NewRun(const CredentialState& state, uint32_t attempt,
                           uint32_t tag_max_length) {
  Run run;
  run.record = NewAttempt(base::NewId(env_.random), state.record.name, attempt,
                          env_.ledger.agent_id(), tag_max_length);
  run.record.started_at = env_.clock.WallNow();
  run.record.old_version = state.record.current_version;
  if (const store::VersionRecord* current = state.Current()) {
    run.record.old_key_id = current->provider_key_id;
  } else if (!state.versions.empty()) {
    // Its value was lost; a key that is rolled in place is still known by its id.
    run.record.target = state.versions.rbegin()->second.provider_key_id;
  }
  return run;
}

void Engine::Start(const std::string& name, bool sweep_only, std::optional<Follower> follower) {
  const CredentialState& state = StateOf(name);
  if (const auto running = runs_.find(name); running != runs_.end()) {
    running->second.sweep_only &= sweep_only;
    if (follower) running->second.followers.push_back(*std::move(follower));
    return;
  }
  auto provider = hooks_.provider_of(name);
  const providers::Traits traits = provider.ok() ? (*provider)->traits() : providers::Traits();
  Run run = NewRun(state, state.record.consecutive_failures + 1, traits.tag_max_length);
  run.sweep_only = sweep_only;
  if (follower) run.followers.push_back(*std::move(follower));
  Begin(name, std::move(run), Due{});
}

absl::Status Engine::StartManual(const std::string& name, store::VersionRecord version,
                                 Follower follower) {
  const CredentialState& state = *env_.ledger.Find(name);
  if (const auto running = runs_.find(name); running != runs_.end()) {
    return base::WithReason(absl::FailedPreconditionError(absl::StrCat(
                                "a rotation of \"", name, "\" is under way already, in state ",
                                running->second.record.state, "; see: keyturn show ", name)),
                            "ROTATION_UNDER_WAY", {{"credential", name}});
  }
  auto provider = hooks_.provider_of(name);
  if (!provider.ok()) return provider.status();
  Run run = NewRun(state, 1, (*provider)->traits().tag_max_length);
  run.record.new_value = std::move(version.value);
  run.record.new_key_id = std::move(version.provider_key_id);
  run.record.new_expires_at = version.expires_at;
  run.followers.push_back(std::move(follower));
  Begin(name, std::move(run), Brought{});
  return absl::OkStatus();
}

absl::Status Engine::Undo(const std::string& name) {
  const auto found = runs_.find(name);
  if (found == runs_.end() || ParseState(found->second.record.state) != State::kRetiring) {
    return base::WithReason(absl::FailedPreconditionError(absl::StrCat(
                                "no version of \"", name,
                                "\" is retiring; what is revoked cannot be brought back. To "
                                "replace the current key, run: keyturn rotate ",
                                name)),
                            "NOTHING_TO_UNDO", {{"credential", name}});
  }
  const uint64_t before = env_.ledger.Find(name)->record.current_version;
  env_.executor.Cancel(found->second.timer);
  ++found->second.call;
  Take(name, Undone{});
  if (env_.ledger.Find(name)->record.current_version == before) {
    return absl::UnavailableError(
        "the store did not take it yet; it is tried again until it does: keyturn status");
  }
  return absl::OkStatus();
}

absl::Status Engine::Disown(const std::string& name, Follower follower) {
  const auto found = runs_.find(name);
  if (found == runs_.end()) {
    Start(name, /*sweep_only=*/true, std::move(follower));
    if (const auto begun = runs_.find(name); begun != runs_.end()) begun->second.disown = true;
    return absl::OkStatus();
  }
  Run& run = found->second;
  if (ParseState(run.record.state) != State::kOperator) {
    return base::WithReason(
        absl::FailedPreconditionError(
            absl::StrCat("a rotation of \"", name, "\" is under way, in state ", run.record.state,
                         "; ask again when it has ended: keyturn show ", name)),
        "ROTATION_UNDER_WAY", {{"credential", name}});
  }
  run.disown = true;
  run.followers.push_back(std::move(follower));
  LookAgain(name);
  return absl::OkStatus();
}

void Engine::LookAgain(const std::string& name) {
  const auto found = runs_.find(name);
  // A run without a timer awaits a reply, and will look by itself once that is here.
  if (found == runs_.end() || found->second.next_step_at == absl::InfinitePast()) return;
  env_.executor.Cancel(found->second.timer);
  Take(name, Due{});
}

void Engine::Drop(const std::string& name) {
  const auto found = runs_.find(name);
  if (found == runs_.end()) return;
  env_.executor.Cancel(found->second.timer);
  std::vector<Follower> followers = std::move(found->second.followers);
  runs_.erase(found);
  for (Follower& follower : followers) {
    follower.done(absl::AbortedError("the credential was deleted"));
  }
}

absl::Time Engine::NextStepAt(const std::string& name) const {
  const auto found = runs_.find(name);
  return found == runs_.end() ? absl::InfinitePast() : found->second.next_step_at;
}

}  // namespace keyturn::lifecycle::rotation

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/rotation/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/backoff.h"
#include "agent/base/crash_point.h"
#include "agent/base/error.h"
#include "agent/lifecycle/rotation/journal.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle::rotation {
namespace {

// Whether what consumers get is another value from now on.
bool ChangesCurrent(VersionChange change) {
  return change == VersionChange::kPromote || change == VersionChange::kReplace ||
         change == VersionChange::kSwap || change == VersionChange::kLoseCurrent;
}

}  // namespace

std::string LostKeyDetail(const std::string& name) {
  return absl::StrCat("the key is lost; make another one and store it with: keyturn put ", name,
                      " --key-id ID");
}

void RotationPoint(absl::string_view state, absl::string_view where) {
  base::CrashPoint(absl::StrCat("rotation:", state, ":", where));
}

void Engine::StartGrace(Run& run) const {
  const base::BootTime now = env_.clock.BootNow();
  run.grace_boot = now + (run.record.grace_until - env_.clock.WallNow());
  run.grace_max_boot = run.record.grace_max == store::kNever
                           ? base::BootTime{-absl::InfiniteDuration()}
                           : now + (run.record.grace_max - env_.clock.WallNow());
}

bool Engine::EndsTheOld(const Run& run) {
  const providers::ProviderClass c = run.provider->traits().provider_class;
  return c == providers::ProviderClass::kRoll || c == providers::ProviderClass::kSelfRoll;
}

bool Engine::Rolling(const std::string& name) const {
  const auto found = runs_.find(name);
  if (found == runs_.end() || !EndsTheOld(found->second)) return false;
  const State state = ParseState(found->second.record.state);
  return state == State::kCreating || state == State::kReconcile;
}

bool Engine::Replaced(const std::string& name) const {
  const auto found = runs_.find(name);
  return found != runs_.end() && found->second.replaced;
}

Engine::Run* Engine::Still(const std::string& name, uint64_t number) {
  const auto found = runs_.find(name);
  return found == runs_.end() || found->second.number != number ? nullptr : &found->second;
}

Engine::Run* Engine::Awaiting(const std::string& name, uint64_t number, uint64_t call) {
  Run* run = Still(name, number);
  return run == nullptr || run->call != call ? nullptr : run;
}

void Engine::Recover() {
  for (const auto& [name, state] : env_.ledger.credentials()) {
    if (!state.rotation || Running(name)) continue;
    Run run;
    run.record = *state.rotation;
    // A sweep that was cut off goes on as a sweep; a rotation that is due will start by itself.
    run.sweep_only = ParseState(run.record.state) == State::kSweeping;
    env_.log.Write(
        observe::Level::kInfo, "rotation_resumed",
        {{"credential", name}, {"rotation", run.record.id}, {"state", run.record.state}});
    Begin(name, std::move(run), Restarted{});
  }
}

void Engine::Begin(const std::string& name, Run run, const Event& first) {
  run.number = next_run_++;
  auto provider = hooks_.provider_of(name);
  if (!provider.ok()) {
    // Resources are checked before they are applied, so only a recipe that has since disappeared
    // from the disk leads here. The row stays; the next start finds it again.
    env_.failures.Open({.code = observe::FailureCode::kRotationFailed,
                        .credential = name,
                        .attempt = run.record.attempt,
                        .cause = "provider_unusable",
                        .detail = std::string(provider.status().message())});
    for (Follower& follower : run.followers) follower.done(provider.status());
    return;
  }
  run.provider = *std::move(provider);
  runs_[name] = std::move(run);
  Take(name, first);
}

absl::Duration Engine::RetryWait(const Run& run) const {
  const absl::Duration runway = StateOf(run.record.credential).Runway(env_.clock.WallNow());
  return base::Backoff(RetryPolicy(runway), run.record.step_failures + 1, absl::ZeroDuration(),
                       env_.random);
}

void Engine::Take(const std::string& name, const Event& event) {
  if (env_.ledger.taken()) return;
  const Run& run = runs_.at(name);
  Commit(name, Advance(run.record, event, FactsFor(run)));
}

void Engine::Commit(const std::string& name, Step step) {
  Run& run = runs_.at(name);
  const auto* close = std::get_if<Close>(&step.effect);
  if (!step.journal) {
    Perform(name, std::move(step));
    return;
  }
  const CredentialState& state = *env_.ledger.Find(name);
  const uint32_t failures = state.record.consecutive_failures + 1;
  absl::Duration floor = absl::ZeroDuration();
  if (close != nullptr) {
    // A refusal will not be taken back soon, and some services lock accounts that keep asking.
    const bool refused = close->ending == Ending::kRefused;
    floor = std::max(close->retry_after, refused ? absl::Minutes(1) : absl::ZeroDuration());
  }
  JournalContext context;
  context.now = env_.clock.WallNow();
  context.retry_at = context.now + base::Backoff(RetryPolicy(state.Runway(context.now)), failures,
                                                 floor, env_.random);
  context.sweep_only = run.sweep_only;
  context.tagged = run.provider->traits().provider_class == providers::ProviderClass::kTagged;
  Step committed = step;
  const store::Transaction transaction = TransactionFor(env_.ledger, state, committed, context);
  const std::string entered = close == nullptr ? committed.record.state : "closed";
  RotationPoint(entered, "before_commit");
  if (absl::Status status = env_.ledger.Commit(transaction); !status.ok()) {
    if (env_.ledger.taken()) return;  // another agent may have taken this very step
    HoldAndRetry(name, std::move(step), status);
    return;
  }
  RotationPoint(entered, "after_commit");
  run.commit_failures = 0;
  run.replaced = false;
  env_.failures.Resolve(observe::FailureCode::kStoreFull, name);
  Perform(name, std::move(committed));
}

void Engine::HoldAndRetry(const std::string& name, Step step, const absl::Status& why) {
  Run& run = runs_.at(name);
  if (EndsTheOld(run) && ChangesCurrent(step.version) && !run.replaced) {
    run.replaced = true;
    hooks_.changed(name);
  }
  const absl::Duration wait =
      base::Backoff({absl::Seconds(1), absl::Seconds(30)}, ++run.commit_failures,
                    absl::ZeroDuration(), env_.random);
  env_.failures.Open(
      {.code = observe::FailureCode::kStoreFull,
       .credential = name,
       .provider_class = providers::ProviderClassName(run.provider->traits().provider_class),
       .attempt = run.commit_failures,
       .cause = absl::IsResourceExhausted(why) ? "disk_full" : "store_error",
       .next_retry = env_.clock.WallNow() + wait,
       .detail = std::string(why.message())});
  run.timer = env_.executor.After(wait, [this, name, number = run.number, step = std::move(step),
                                         held_at = env_.clock.WallNow()]() mutable {
    if (Still(name, number) == nullptr) return;
    // The grace begins when the new key is handed out, however long that was held up.
    if (step.version == VersionChange::kPromote || step.version == VersionChange::kSwap) {
      // By the clock the row's times are of, which may have been set meanwhile.
      const absl::Duration held = env_.clock.WallNow() - held_at;
      step.record.grace_until += held;
      if (step.record.grace_max != store::kNever) step.record.grace_max += held;
    }
    Commit(name, std::move(step));
  });
}

void Engine::Perform(const std::string& name, Step step) {
  Run& run = runs_.at(name);
  const bool entered = run.record.state != step.record.state;
  const bool was_rolling = Rolling(name);
  run.record = step.record;
  run.next_step_at = absl::InfinitePast();
  RaiseAlerts(name, run, step);
  const bool handed_out = ChangesCurrent(step.version);
  if (step.version == VersionChange::kPromote || step.version == VersionChange::kSwap) {
    StartGrace(run);
  }
  if (handed_out) RotationPoint(run.record.state, "before_push");
  if (handed_out || was_rolling != Rolling(name)) hooks_.changed(name);
  if (entered || handed_out) Announce(run, step);
  if (const auto* close = std::get_if<Close>(&step.effect)) {
    Finish(name, *close);
  } else if (const auto* wait = std::get_if<Wait>(&step.effect)) {
    WaitUntil(name, runs_.at(name), wait->until);
  } else if (std::holds_alternative<Proceed>(step.effect)) {
    WaitUntil(name, runs_.at(name), env_.clock.WallNow());
  } else {
    Call(name, runs_.at(name), step.effect);
  }
}

void Engine::Announce(Run& run, const Step& step) {
  // A first key has nothing to retire: the row is closed by the step that promotes it.
  const bool first = step.version == VersionChange::kPromote && run.record.old_version == 0;
  const std::string state = first ? "promoted" : run.record.state;
  env_.log.Write(observe::Level::kInfo, "rotation",
                 {{"credential", run.record.credential},
                  {"rotation", run.record.id},
                  {"state", state},
                  {"attempt", run.record.attempt},
                  {"version", run.record.new_version}});
  v1::RotateResponse report;
  report.set_rotation_id(run.record.id);
  report.set_state(state);
  report.set_version(run.record.new_version);
  if (ParseState(run.record.state) == State::kReconcile) {
    report.set_detail(absl::StrCat("the outcome of create is unknown (", run.record.last_error,
                                   "); waiting to see whether a key appears"));
  }
  for (Follower& follower : run.followers) follower.step(report);
  if (!ChangesCurrent(step.version)) return;
  for (auto it = run.followers.begin(); it != run.followers.end();) {
    if (it->until_done) {
      ++it;
      continue;
    }
    it->done(absl::OkStatus());
    it = run.followers.erase(it);
  }
}

void Engine::RaiseAlerts(const std::string& name, const Run& run, const Step& step) {
  for (observe::FailureCode code : step.resolved) env_.failures.Resolve(code, name);
  if (!step.alert) return;
  const CredentialState& state = StateOf(name);
  const auto* wait = std::get_if<Wait>(&step.effect);
  env_.failures.Open(
      {.code = step.alert->code,
       .credential = name,
       .provider = state.record.spec.provider(),
       .provider_class = providers::ProviderClassName(run.provider->traits().provider_class),
       .attempt = std::max(run.record.attempt, run.record.step_failures),
       .cause = step.alert->cause,
       .http_status = step.alert->http_status,
       .next_retry = wait == nullptr ? absl::InfinitePast() : wait->until,
       .runway = state.Runway(env_.clock.WallNow()),
       .detail = step.alert->detail});
}

void Engine::WaitUntil(const std::string& name, Run& run, absl::Time until) {
  run.next_step_at = until;
  // Long waits are looked at again from time to time, because the wall clock may be set meanwhile.
  const absl::Duration wait = std::clamp(until - env_.clock.WallNow(), absl::ZeroDuration(),
                                         absl::Duration(absl::Minutes(10)));
  run.timer = env_.executor.After(wait, [this, name, number = run.number, until] {
    Run* still = Still(name, number);
    if (still == nullptr) return;
    if (env_.clock.WallNow() < until) {
      WaitUntil(name, *still, until);
    } else {
      Take(name, Due{});
    }
  });
}

void Engine::Finish(const std::string& name, const Close& close) {
  const bool was_rolling = Rolling(name);
  auto node = runs_.extract(name);
  Run& run = node.mapped();
  if (was_rolling) hooks_.changed(name);
  const bool failed = IsFailure(close.ending) && (!run.sweep_only || close.ending == Ending::kLost);
  const CredentialState& state = StateOf(name);
  if (failed) {
    const bool for_a_person = close.ending == Ending::kLost && state.record.spec.recovery().empty();
    env_.failures.Open(
        {.code = FailureOf(close.ending),
         .credential = name,
         .provider = state.record.spec.provider(),
         .provider_class = providers::ProviderClassName(run.provider->traits().provider_class),
         .attempt = run.record.attempt,
         .cause = close.cause,
         .http_status = close.http_status,
         .next_retry = for_a_person ? absl::InfinitePast() : state.record.next_due,
         .runway = state.Runway(env_.clock.WallNow()),
         .detail = for_a_person ? LostKeyDetail(name) : ""});
  }
  const absl::Status status =
      !failed
          ? absl::OkStatus()
          : base::WithReason(
                absl::UnavailableError(absl::StrCat(
                    "the rotation ended without a new key: ", EndingName(close.ending), " (",
                    close.cause, "); the current key is still served and another attempt follows")),
                observe::FailureCodeName(FailureOf(close.ending)), {{"credential", name}});
  v1::RotateResponse last;
  last.set_rotation_id(run.record.id);
  last.set_state(std::string(EndingName(close.ending)));
  last.set_version(run.record.new_version);
  for (Follower& follower : run.followers) {
    follower.step(last);
    follower.done(status);
  }
  hooks_.closed(name, run.record.sent_at != store::kNever);
}

}  // namespace keyturn::lifecycle::rotation

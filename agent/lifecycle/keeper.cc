// SPDX-License-Identifier: Apache-2.0
// What Keeper does by itself: planning, resuming, handing out. Its answers to administrators are in
// keeper_admin.cc, those to whoever waits for a value in keeper_waits.cc.
#include "agent/lifecycle/keeper.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/attachment.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

// After downtime, overdue rotations begin within this much, each at its own moment; or, when there
// are many, each this much after the one before at the same host.
constexpr absl::Duration kSpread = absl::Minutes(1);
constexpr absl::Duration kBetweenTurns = absl::Seconds(2);
// With less than this left, a credential does not wait for its moment.
constexpr absl::Duration kUrgent = absl::Hours(1);
// A timer this late: the machine slept or its clock was set, and others are late as well.
constexpr absl::Duration kLateTimer = absl::Minutes(1);
constexpr absl::Duration kSweepEvery = absl::Hours(1);
// A slot in use that somebody regenerates is a dead key until it is read again.
constexpr absl::Duration kDriftEvery = absl::Minutes(5);
// Timers look again at least this often, because the wall clock may be set meanwhile.
constexpr absl::Duration kLookAgain = absl::Minutes(10);
constexpr absl::Duration kExpiryWarning = absl::Hours(7 * 24);

}  // namespace

Keeper::Keeper(const Dependencies& dependencies)
    : deps_(dependencies),
      ledger_(
          dependencies.store, [this] { TakeDeliveries(); },
          [this](const absl::Status& why) {
            deps_.log.Write(observe::Level::kError, "store_taken",
                            {{"detail", "another process wrote to the store; this agent stops"},
                             {"cause", why.message()}});
            deps_.on_store_taken();
          }),
      refresher_({ledger_, deps_.executor, deps_.clock, deps_.random, deps_.failures, deps_.log,
                  deps_.authorization_server},
                 [this](const std::string& name) { Publish(name); }),
      engine_({ledger_, deps_.executor, deps_.clock, deps_.random, deps_.failures, deps_.log},
              {[this](const std::string& name) { return ProviderOf(name); },
               [this](const std::string& credential, rotation::Engine::ManagerValue done) {
                 ManagerOf(credential, std::move(done));
               },
               [this](const std::string& name) { Publish(name); },
               [this](const std::string& name, bool attempted) { OnClosed(name, attempted); },
               [this](const std::string& name) { return ConsumersHaveMovedOn(name); }}) {}

absl::Status Keeper::Start() {
  if (absl::Status status = ledger_.Load(); !status.ok()) return status;
  if (ledger_.rolled_back()) {
    if (absl::Status status = OnRolledBack(); !status.ok()) return status;
  }
  BuildProviders();
  deps_.on_policies(ledger_.policies());
  deps_.executor.OnClockSet([this] { OnClockSet(); });
  // Everything is handed out before anything upstream is asked: a restart costs no consumer a read.
  for (const auto& [name, state] : ledger_.credentials()) Publish(name);
  engine_.Recover();
  // What consumers will miss first comes first; the rest in the order of its moments.
  std::vector<std::pair<std::pair<absl::Duration, double>, std::string>> order;
  for (const auto& [name, state] : ledger_.credentials()) {
    order.push_back({{state.Runway(deps_.clock.WallNow()), JitterFraction(name)}, name});
  }
  std::sort(order.begin(), order.end());
  for (const auto& [urgency, name] : order) {
    Adopt(name, /*fetch_now=*/false);
    ReportLostKey(name);
  }
  return absl::OkStatus();
}

// What was done since that copy was made is not known here.
absl::Status Keeper::OnRolledBack() {
  deps_.failures.Open({.code = observe::FailureCode::kRollbackDetected,
                       .cause = "older_store",
                       .detail = "an older copy of the store was put back, or its anchor cannot be "
                                 "read; refresh tokens that end with their use are not used before "
                                 "an administrator says so"});
  // In this order: until the store says which tokens are in doubt, the next start must find this
  // out again.
  if (absl::Status status = refresher_.DoubtAll(); !status.ok()) return status;
  if (absl::Status status = ledger_.DropAnchor(); !status.ok()) {
    deps_.log.Write(observe::Level::kWarning, "anchor_not_written", {{"cause", status.message()}});
  }
  return absl::OkStatus();
}

void Keeper::OnClockSet() {
  const absl::Duration moved = clock_watch_.Moved();
  if (absl::AbsDuration(moved) >= kClockJump) {
    deps_.failures.Open({.code = observe::FailureCode::kClockJump,
                         .cause = moved > absl::ZeroDuration() ? "set_forward" : "set_back",
                         .detail = absl::StrCat("the date was set by ", absl::FormatDuration(moved),
                                                "; see that this machine keeps time")});
    deps_.executor.Cancel(clock_told_);
    clock_told_ = deps_.executor.After(absl::Hours(1), [this] {
      deps_.failures.Resolve(observe::FailureCode::kClockJump, observe::SubjectOf({}));
    });
  }
  for (const auto& [name, state] : ledger_.credentials()) {
    const store::VersionRecord* current = state.Current();
    if (current == nullptr || current->expires_at == store::kNever) continue;
    Publish(name);
    refresher_.OnClockSet(name);
  }
}

void Keeper::BuildProviders() {
  providers_.clear();
  for (const auto& [name, record] : ledger_.providers()) {
    auto provider = deps_.checks.registry.Make(ConfigOf(name, record.spec));
    if (provider.ok()) {
      providers_[name] = *std::move(provider);
    } else {
      deps_.log.Write(observe::Level::kError, "provider_unusable",
                      {{"provider", name}, {"detail", provider.status().message()}});
    }
  }
}

std::string Keeper::MakerOf(const std::string& credential) const {
  const CredentialState* state = ledger_.Find(credential);
  if (state == nullptr) return "";
  // A key that replaces itself cannot once it is lost. The very first one a person brings.
  const v1::CredentialSpec& spec = state->record.spec;
  const bool recovers = !spec.recovery().empty() && state->record.current_version == 0 &&
                        state->record.last_version != 0;
  return recovers ? spec.recovery() : spec.provider();
}

absl::StatusOr<std::shared_ptr<providers::Provider>> Keeper::ProviderOf(
    const std::string& credential) const {
  const auto found = providers_.find(MakerOf(credential));
  if (found == providers_.end()) {
    return absl::FailedPreconditionError(
        "its provider cannot be used; the log says why (provider_unusable)");
  }
  return found->second;
}

bool Keeper::IsManual(const std::string& credential) const {
  const auto provider = ProviderOf(credential);
  return provider.ok() && (*provider)->traits().provider_class == providers::ProviderClass::kManual;
}

bool Keeper::WaitsForPerson(const CredentialState& state) const {
  if (state.record.current_version != 0 || state.record.spec.provider().empty()) return false;
  const auto provider = ProviderOf(state.record.name);
  if (!provider.ok()) return false;
  const providers::ProviderClass c = (*provider)->traits().provider_class;
  // Rolling a key that others may still use ends it: somebody has to bring it here first, or to ask
  // for the roll.
  const bool never_had = state.record.last_version == 0;
  return c == providers::ProviderClass::kManual || c == providers::ProviderClass::kSelfRoll ||
         (c == providers::ProviderClass::kRoll && never_had);
}

void Keeper::ManagerOf(const std::string& credential, rotation::Engine::ManagerValue done) {
  const auto found = ledger_.providers().find(MakerOf(credential));
  ValueOf(found == ledger_.providers().end() ? "" : found->second.spec.manager(), std::move(done));
}

void Keeper::ValueOf(const std::string& name, rotation::Engine::ManagerValue done) {
  if (name.empty()) {
    done(base::CredentialValue{});
    return;
  }
  auto answer = [this, name, done = std::move(done)](absl::Status status) mutable {
    const CredentialState* state = ledger_.Find(name);
    const store::VersionRecord* current = state == nullptr ? nullptr : state->Current();
    if (!status.ok()) {
      done(status);
    } else if (current == nullptr) {
      done(absl::FailedPreconditionError(absl::StrCat("\"", name, "\" has no value yet")));
    } else {
      done(current->value);
    }
  };
  const oauth::Windows* windows = refresher_.WindowsOf(name);
  const CredentialState* manager = ledger_.Find(name);
  const bool token = manager != nullptr && manager->record.spec.has_oauth();
  if (token && (windows == nullptr || deps_.clock.BootNow() >= windows->hard)) {
    refresher_.EnsureFresh(name, absl::Seconds(30), std::move(answer));
  } else {
    answer(absl::OkStatus());
  }
}

void Keeper::Adopt(const std::string& name, bool fetch_now) {
  const CredentialState& state = *ledger_.Find(name);
  const bool missing = !MissingSecret(state.record.spec, ledger_).empty();
  switch (KindOf(state.record.spec)) {
    case v1::OAUTH_TOKEN:
      // Without its client secret there is nothing to try; PutVersion comes back here.
      if (missing && state.Current() == nullptr) {
        Publish(name);
      } else {
        refresher_.Adopt(name, fetch_now);
      }
      break;
    case v1::API_KEY:
      Publish(name);
      if (missing) break;
      PlanRotation(name);
      PlanSweep(name, SweepEvery(name));
      break;
    default:
      Publish(name);
      PlanExpiryWarning(name);
  }
}

void Keeper::PlanRotation(const std::string& name) {
  const CredentialState& state = *ledger_.Find(name);
  Plan& plan = plans_[name];
  if (IsManual(name)) return PlanReminder(name);
  if (WaitsForPerson(state)) {
    deps_.executor.Cancel(plan.rotation);
    plan.rotation_at = absl::InfiniteFuture();
    return;
  }
  const absl::Time now = deps_.clock.WallNow();
  absl::Time due = state.record.next_due;
  if (due == store::kNever) due = now;  // no key yet: make the first one
  if (const store::VersionRecord* current = state.Current()) {
    if (due < now) {
      // Overdue, most likely because the agent was down: not all at once.
      if (plan.turn < now) plan.turn = TakeTurn(state, now);
      due = plan.turn;
    }
    due = InWindow(state.record.spec.rotate(), name, due, state.record.last_rotated,
                   current->expires_at);
  }
  plan.rotation_at = due;
  AwaitRotation(name);
}

absl::Time Keeper::TakeTurn(const CredentialState& state, absl::Time now) {
  const auto provider = ledger_.providers().find(state.record.spec.provider());
  std::string host = state.record.spec.provider();
  if (provider != ledger_.providers().end() && !provider->second.spec.endpoint().empty()) {
    host = HostOf(provider->second.spec.endpoint());
  }
  const absl::Duration spread =
      state.Runway(now) <= kUrgent
          ? absl::ZeroDuration()
          : JitterFraction(state.record.name) *
                std::min(kSpread, IntervalAt(state.record.spec.rotate(), now) / 100);
  absl::Time& last = turns_.try_emplace(host, absl::InfinitePast()).first->second;
  last = std::max(now + spread, last + kBetweenTurns);
  return last;
}

void Keeper::AwaitRotation(const std::string& name) {
  Plan& plan = plans_[name];
  deps_.executor.Cancel(plan.rotation);
  const absl::Duration wait = std::clamp(plan.rotation_at - deps_.clock.WallNow(),
                                         absl::ZeroDuration(), absl::Duration(kLookAgain));
  plan.rotation = deps_.executor.After(wait, [this, name] {
    if (ledger_.Find(name) != nullptr) OnRotationTimer(name);
  });
}

void Keeper::OnRotationTimer(const std::string& name) {
  const CredentialState& state = *ledger_.Find(name);
  const absl::Time now = deps_.clock.WallNow();
  const absl::Time at = plans_[name].rotation_at;
  const bool has_key = state.Current() != nullptr;
  if (now < state.record.next_due || (has_key && now - at > kLateTimer)) {
    PlanRotation(name);
  } else if (now < at) {
    AwaitRotation(name);
  } else {
    if (has_key && !IsInWindow(state.record.spec.rotate(), now)) {
      deps_.log.Write(
          observe::Level::kWarning, "rotation_outside_window",
          {{"credential", name}, {"detail", "the key would expire before the next window opens"}});
    }
    engine_.Start(name, /*sweep_only=*/false);
  }
}

void Keeper::PlanSweep(const std::string& name, absl::Duration wait) {
  if (IsManual(name)) return;  // what a person makes is not Keyturn's to sweep
  Plan& plan = plans_[name];
  deps_.executor.Cancel(plan.sweep);
  plan.sweep = deps_.executor.After(wait, [this, name] {
    if (ledger_.Find(name) == nullptr) return;
    // A run that is under way lists by itself before it begins anything.
    if (!engine_.Running(name)) engine_.Start(name, /*sweep_only=*/true);
    PlanSweep(name, SweepEvery(name));
  });
}

absl::Duration Keeper::SweepEvery(const std::string& name) const {
  const auto provider = ProviderOf(name);
  const bool slots =
      provider.ok() && (*provider)->traits().provider_class == providers::ProviderClass::kDualSlot;
  return slots ? kDriftEvery : kSweepEvery;
}

// For values that nobody but a person can replace.
void Keeper::PlanExpiryWarning(const std::string& name) {
  const CredentialState& state = *ledger_.Find(name);
  Plan& plan = plans_[name];
  deps_.executor.Cancel(plan.expiry);
  const store::VersionRecord* current = state.Current();
  if (current == nullptr || current->expires_at == store::kNever) {
    deps_.failures.Resolve(observe::FailureCode::kExpiresSoon, name);
    return;
  }
  const absl::Duration left = current->expires_at - deps_.clock.WallNow();
  if (left <= kExpiryWarning) {
    deps_.failures.Open({.code = observe::FailureCode::kExpiresSoon,
                         .credential = name,
                         .cause = "expires",
                         .runway = left,
                         .detail = absl::StrCat("store the next value with: keyturn put ", name)});
  } else {
    deps_.failures.Resolve(observe::FailureCode::kExpiresSoon, name);
  }
  if (left <= absl::ZeroDuration()) return;
  const absl::Duration again = left <= kExpiryWarning ? absl::Hours(24) : left - kExpiryWarning;
  plan.expiry = deps_.executor.After(
      std::clamp(again, absl::Duration(absl::Seconds(1)), absl::Duration(absl::Hours(24))),
      [this, name] {
        if (ledger_.Find(name) != nullptr) PlanExpiryWarning(name);
      });
}

// Class manual: a person has to bring the next key, and is told in good time.
void Keeper::PlanReminder(const std::string& name) {
  const CredentialState& state = *ledger_.Find(name);
  Plan& plan = plans_[name];
  deps_.executor.Cancel(plan.rotation);
  plan.rotation_at =
      state.record.next_due == store::kNever ? absl::InfiniteFuture() : state.record.next_due;
  if (state.record.current_version == 0) return;
  const absl::Time now = deps_.clock.WallNow();
  const Reminder reminder = ReminderAt(state.record.next_due, now);
  if (reminder.due) {
    deps_.failures.Open(
        {.code = observe::FailureCode::kManualRotationDue,
         .credential = name,
         .provider = state.record.spec.provider(),
         .provider_class = providers::ProviderClassName(providers::ProviderClass::kManual),
         .cause = state.record.next_due <= now ? "overdue" : "due_soon",
         .runway = state.Runway(now),
         .detail =
             absl::StrCat("make a new key at the provider and store it: keyturn put ", name)});
  } else {
    deps_.failures.Resolve(observe::FailureCode::kManualRotationDue, name);
  }
  plan.rotation = deps_.executor.After(
      std::clamp(reminder.next - now, absl::Duration(absl::Seconds(1)), absl::Duration(kLookAgain)),
      [this, name, next = reminder.next] { LookAtReminder(name, next); });
}

void Keeper::LookAtReminder(const std::string& name, absl::Time next) {
  if (ledger_.Find(name) == nullptr) return;
  const absl::Time now = deps_.clock.WallNow();
  if (now >= next) return PlanReminder(name);
  plans_[name].rotation = deps_.executor.After(std::min(next - now, absl::Duration(kLookAgain)),
                                               [this, name, next] { LookAtReminder(name, next); });
}

void Keeper::OnClosed(const std::string& name, bool attempted) {
  const CredentialState* state = ledger_.Find(name);
  if (state == nullptr) return;
  PlanRotation(name);
  // The effect of a create may still arrive late or twice; the next look is not an hour away.
  const auto provider = ProviderOf(name);
  if (attempted && provider.ok()) {
    PlanSweep(name, std::max((*provider)->traits().settle, absl::Duration(absl::Seconds(30))));
  }
  const store::VersionRecord* current = state->Current();
  if (state->record.last_rotated != store::kNever && state->record.consecutive_failures > 0 &&
      deps_.clock.WallNow() >
          OverdueFrom(state->record.spec.rotate(), name, state->record.last_rotated,
                      current == nullptr ? store::kNever : current->expires_at)) {
    deps_.failures.Open({.code = observe::FailureCode::kRotationOverdue,
                         .credential = name,
                         .provider = state->record.spec.provider(),
                         .attempt = state->record.consecutive_failures,
                         .cause = state->record.failure_detail,
                         .next_retry = state->record.next_due,
                         .runway = state->Runway(deps_.clock.WallNow())});
  }
}

void Keeper::Publish(const std::string& name) {
  const CredentialState& state = *ledger_.Find(name);
  PublishedVersion out;
  out.name = name;
  out.kind = KindOf(state.record.spec);
  const store::VersionRecord* current = state.Current();
  // Watchers have what is being replaced until they take what replaces it.
  ReviewConsumers(name);
  if (current == nullptr) {
    if (const std::string missing = MissingSecret(state.record.spec, ledger_); !missing.empty()) {
      out.unavailable =
          base::WithReason(absl::FailedPreconditionError(
                               absl::StrCat("\"", name, "\" waits for a value of \"", missing,
                                            "\"; an administrator can store "
                                            "it: keyturn put ",
                                            missing)),
                           "NO_VALUE_YET", {{"credential", name}, {"missing", missing}});
    } else if (WaitsForPerson(state)) {
      out.unavailable = base::WithReason(
          absl::FailedPreconditionError(absl::StrCat(
              "\"", name, "\" has no value", state.record.last_version == 0 ? " yet" : " any more",
              "; an administrator can store one: keyturn put ", name)),
          "NO_VALUE_YET", {{"credential", name}});
    } else if (out.kind == v1::API_KEY) {
      out.unavailable = base::WithRetry(
          base::WithReason(absl::UnavailableError(
                               absl::StrCat("the first key of \"", name, "\" is still being made")),
                           "NO_VALUE_YET", {{"credential", name}}),
          absl::Seconds(1));
    } else if (out.kind == v1::STATIC) {
      out.unavailable = base::WithReason(absl::FailedPreconditionError(absl::StrCat(
                                             "\"", name,
                                             "\" has no value yet; an administrator can store one: "
                                             "keyturn put ",
                                             name)),
                                         "NO_VALUE_YET", {{"credential", name}});
    }
    deps_.sink.Publish(out);
    return;
  }
  out.version = current->number;
  out.value = current->value;
  if (current->expires_at != store::kNever) {
    out.expires_wall = current->expires_at;
    out.expires = deps_.clock.ToBoot(current->expires_at);
  }
  if (const oauth::Windows* windows = refresher_.WindowsOf(name)) {
    out.expires = windows->expires;
    out.hard = windows->hard;
    out.expires_wall = deps_.clock.ToWall(windows->expires);
    out.refresh_after = deps_.clock.ToWall(windows->soft);
    out.longest_life = oauth::LongestAsk(refresher_.LifetimeOf(name));
  } else if (out.kind == v1::API_KEY && state.record.next_due != store::kNever) {
    out.refresh_after = state.record.next_due;
  }
  if (engine_.Rolling(name)) {
    out.hard = deps_.clock.BootNow();  // whoever asks waits for the outcome, for a while
    if (engine_.Replaced(name)) out.expires = out.hard;  // and gets no key that is known to be dead
  } else {
    EndRollWaits(name);
  }
  SetAttachment(state.record.spec, out);
  if (const auto provider = ProviderOf(name); out.kind == v1::API_KEY && provider.ok()) {
    out.attach_header = (*provider)->traits().attach_header;
    out.attach_format = (*provider)->traits().attach_format;
  }
  deps_.sink.Publish(out);
}

void Keeper::Forget(const std::string& name) {
  engine_.Drop(name);
  logins_.Drop(name);
  refresher_.Drop(name);
  if (const auto plan = plans_.find(name); plan != plans_.end()) {
    deps_.executor.Cancel(plan->second.rotation);
    deps_.executor.Cancel(plan->second.sweep);
    deps_.executor.Cancel(plan->second.expiry);
    EndRollWaits(name);
    plans_.erase(plan);
  }
  deps_.failures.ResolveAll(name);
  deps_.sink.Withdraw(name);
}

absl::Time Keeper::NextAt(const std::string& name) const {
  const absl::Time refresh = refresher_.NextAt(name);
  if (refresh < absl::InfiniteFuture()) return refresh;
  const auto plan = plans_.find(name);
  if (plan == plans_.end()) return absl::InfiniteFuture();
  // While a rotation is open, its timer has fired; what comes next is the rotation after it.
  const CredentialState* state = ledger_.Find(name);
  const absl::Time due = state == nullptr ? store::kNever : state->record.next_due;
  return std::max(plan->second.rotation_at, due);
}

}  // namespace keyturn::lifecycle

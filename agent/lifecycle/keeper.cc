// SPDX-License-Identifier: Apache-2.0
// What Keeper does by itself: planning, resuming, handing out. Its answers to administrators are in
// keeper_admin.cc.
#include "agent/lifecycle/keeper.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

// After downtime, overdue rotations begin within this much, each at its own moment.
constexpr absl::Duration kSpread = absl::Minutes(1);
constexpr absl::Duration kSweepEvery = absl::Hours(1);
// Timers look again at least this often, because the wall clock may be set meanwhile.
constexpr absl::Duration kLookAgain = absl::Minutes(10);
constexpr absl::Duration kExpiryWarning = absl::Hours(7 * 24);

}  // namespace

Keeper::Keeper(const Dependencies& dependencies)
    : deps_(dependencies),
      ledger_(dependencies.store, [this] { TakeDeliveries(); }),
      refresher_({ledger_, deps_.executor, deps_.clock, deps_.random, deps_.failures, deps_.log,
                  deps_.token_endpoint},
                 [this](const std::string& name) { Publish(name); }),
      engine_({ledger_, deps_.executor, deps_.clock, deps_.random, deps_.failures, deps_.log},
              {[this](const std::string& name) { return ProviderOf(name); },
               [this](const std::string& provider, rotation::Engine::ManagerValue done) {
                 ManagerOf(provider, std::move(done));
               },
               [this](const std::string& name) { Publish(name); },
               [this](const std::string& name, bool attempted) { OnClosed(name, attempted); }}) {}

absl::Status Keeper::Start() {
  if (absl::Status status = ledger_.Load(); !status.ok()) return status;
  BuildProviders();
  deps_.on_policies(ledger_.policies());
  // Everything is handed out before anything upstream is asked: a restart costs no consumer a read.
  for (const auto& [name, state] : ledger_.credentials()) Publish(name);
  engine_.Recover();
  for (const auto& [name, state] : ledger_.credentials()) Adopt(name, /*fetch_now=*/false);
  return absl::OkStatus();
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

absl::StatusOr<std::shared_ptr<providers::Provider>> Keeper::ProviderOf(
    const std::string& credential) {
  const CredentialState* state = ledger_.Find(credential);
  const auto found =
      state == nullptr ? providers_.end() : providers_.find(state->record.spec.provider());
  if (found == providers_.end()) {
    return absl::FailedPreconditionError(
        "its provider cannot be used; the log says why (provider_unusable)");
  }
  return found->second;
}

void Keeper::ManagerOf(const std::string& provider, rotation::Engine::ManagerValue done) {
  const auto found = ledger_.providers().find(provider);
  const std::string name = found == ledger_.providers().end() ? "" : found->second.spec.manager();
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
      PlanSweep(name, kSweepEvery);
      break;
    default:
      Publish(name);
      PlanExpiryWarning(name);
  }
}

void Keeper::PlanRotation(const std::string& name) {
  const CredentialState& state = *ledger_.Find(name);
  Plan& plan = plans_[name];
  deps_.executor.Cancel(plan.rotation);
  const absl::Time now = deps_.clock.WallNow();
  const absl::Duration every = ToDuration(state.record.spec.rotate().every());
  absl::Time due = state.record.next_due;
  if (due == store::kNever) due = now;  // no key yet: make the first one
  if (due < now && state.record.current_version != 0) {
    // Overdue, most likely because the agent was down: not all at once.
    due = now + JitterFraction(name) * std::min(kSpread, every / 100);
  }
  plan.rotation_at = due;
  const absl::Duration wait =
      std::clamp(due - now, absl::ZeroDuration(), absl::Duration(kLookAgain));
  plan.rotation = deps_.executor.After(wait, [this, name] {
    const CredentialState* held = ledger_.Find(name);
    if (held == nullptr) return;
    if (deps_.clock.WallNow() < held->record.next_due) {
      PlanRotation(name);
    } else {
      engine_.Start(name, /*sweep_only=*/false);
    }
  });
}

void Keeper::PlanSweep(const std::string& name, absl::Duration wait) {
  Plan& plan = plans_[name];
  deps_.executor.Cancel(plan.sweep);
  plan.sweep = deps_.executor.After(wait, [this, name] {
    if (ledger_.Find(name) == nullptr) return;
    // A run that is under way lists by itself before it begins anything.
    if (!engine_.Running(name)) engine_.Start(name, /*sweep_only=*/true);
    PlanSweep(name, kSweepEvery);
  });
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

void Keeper::OnClosed(const std::string& name, bool attempted) {
  const CredentialState* state = ledger_.Find(name);
  if (state == nullptr) return;
  PlanRotation(name);
  // The effect of a create may still arrive late or twice; the next look is not an hour away.
  const auto provider = ProviderOf(name);
  if (attempted && provider.ok()) {
    PlanSweep(name, std::max((*provider)->traits().settle, absl::Duration(absl::Seconds(30))));
  }
  const absl::Duration every = ToDuration(state->record.spec.rotate().every());
  const absl::Duration late = deps_.clock.WallNow() - (state->record.last_rotated + every);
  if (state->record.last_rotated != store::kNever && state->record.consecutive_failures > 0 &&
      late > every / 10) {
    deps_.failures.Open({.code = observe::FailureCode::kRotationOverdue,
                         .credential = name,
                         .provider = state->record.spec.provider(),
                         .attempt = state->record.consecutive_failures,
                         .cause = state->record.failure_detail,
                         .next_retry = state->record.next_due,
                         .runway = RunwayOf(*state, deps_.clock.WallNow())});
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
  const v1::CredentialSpec& spec = state.record.spec;
  const v1::Attach& attach = spec.has_oauth() ? spec.oauth().attach() : spec.static_().attach();
  out.attach_header = attach.header();
  out.attach_format = attach.format();
  if (spec.has_oauth() && out.attach_header.empty()) {
    out.attach_header = "Authorization";  // RFC 6750 section 2.1
    out.attach_format = "Bearer {value}";
  } else if (out.kind == v1::API_KEY) {
    if (const auto provider = ProviderOf(name); provider.ok()) {
      out.attach_header = (*provider)->traits().attach_header;
      out.attach_format = (*provider)->traits().attach_format;
    }
  }
  deps_.sink.Publish(out);
}

void Keeper::Forget(const std::string& name) {
  engine_.Drop(name);
  refresher_.Drop(name);
  if (const auto plan = plans_.find(name); plan != plans_.end()) {
    deps_.executor.Cancel(plan->second.rotation);
    deps_.executor.Cancel(plan->second.sweep);
    deps_.executor.Cancel(plan->second.expiry);
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

void Keeper::EnsureFresh(std::string name, absl::Duration timeout, Done done) {
  deps_.executor.Post([this, name = std::move(name), timeout, done = std::move(done)]() mutable {
    refresher_.EnsureFresh(name, timeout, std::move(done));
  });
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/refresher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/backoff.h"
#include "agent/base/crash_point.h"
#include "agent/base/error.h"
#include "agent/lifecycle/oauth/consent_expiry.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle::oauth {
namespace {

using observe::FailureCode;
using providers::TokenOutcome;
using providers::TokenReply;

// The longest that anybody is told to wait before asking again.
constexpr absl::Duration kAskAgain = absl::Minutes(15);

}  // namespace

void Refresher::Adopt(const std::string& name, bool fetch_now) {
  const CredentialState* state = env_.ledger.Find(name);
  if (state == nullptr) return;
  const bool known = tokens_.count(name) != 0;
  Token& token = tokens_[name];
  const store::VersionRecord* current = state->Current();
  if (!token.windows && current != nullptr && current->expires_at != store::kNever) {
    token.lifetime = current->expires_at - current->requested_at;
    const base::BootTime sent_at =
        env_.clock.ToBoot(current->requested_at, current->requested_boot);
    const base::BootTime now = env_.clock.BootNow();
    token.windows = WindowsFor(sent_at, token.lifetime, env_.random.Uniform());
    if (sent_at > now) {
      // The date was set back while the machine was off: nobody knows how old the token is.
      token.windows = Windows{now, now, now + token.lifetime};
    }
  }
  publish_(name);
  if (token.flight != 0) {
    token.outdated |= fetch_now;
    return;
  }
  if (fetch_now) {
    LeaveHost(name, token);
    token.sent_at.reset();  // what was sent before is not what is held now
    token.in_leeway = false;
    token.consent_told = absl::InfinitePast();
    token.failures = 0;
    token.ambiguous = 0;
    token.doubt_retried = false;
    token.last_error = absl::OkStatus();
  }
  WatchConsent(name);
  if (known && !fetch_now && token.failures > 0) return;
  if (InDoubt(name) && state->refresh->restored) return AwaitDecision(name);
  if (InDoubt(name) && !state->refresh->needs_consent) {
    PlanInDoubt(name, *state, /*answered=*/false, absl::ZeroDuration());
    // The process ended between sending a refresh and storing what came back. Otherwise it was told
    // when the doubt began.
    if (!known) Alert(name, FailureCode::kRefreshInDoubt, "restarted", 0, NextAt(name), "");
    return;
  }
  PlanAt(name, fetch_now ? env_.clock.BootNow() : NextRefresh(name));
}

void Refresher::TryAgain(const std::string& name) {
  const auto found = tokens_.find(name);
  if (found == tokens_.end()) return;
  if (found->second.flight != 0) found->second.hurried = true;
  if (found->second.flight != 0 || InDoubt(name)) return;
  if (found->second.failures > 0) PlanAt(name, env_.clock.BootNow());
}

void Refresher::Drop(const std::string& name) {
  const auto found = tokens_.find(name);
  if (found == tokens_.end()) return;
  env_.executor.Cancel(found->second.timer);
  env_.executor.Cancel(found->second.consent_timer);
  Land(name, absl::NotFoundError("the credential was deleted"));
  LeaveHost(name, found->second);
  tokens_.erase(name);
  LookAtRestored();
}

bool Refresher::Busy(const std::string& name) const {
  const auto found = tokens_.find(name);
  return found != tokens_.end() && found->second.flight != 0;
}

uint64_t Refresher::Hold(const std::string& name) {
  Token& token = tokens_[name];
  token.held_plan = NextTry(name, token);
  PlanAt(name, base::BootTime::InfiniteFuture());
  LeaveHost(name, token);
  token.flight = token.hold = next_number_++;  // to others, an exchange like any other
  return token.hold;
}

uint64_t Refresher::HoldOf(const std::string& name) const {
  const auto found = tokens_.find(name);
  return found == tokens_.end() ? 0 : found->second.hold;
}

void Refresher::Release(const std::string& name, bool ended) {
  const auto found = tokens_.find(name);
  const CredentialState* state = env_.ledger.Find(name);
  if (found == tokens_.end() || state == nullptr) return;
  Token& token = found->second;
  token.flight = token.hold = 0;
  if (!ended) {
    if (token.failures > 0) PlanAt(name, token.held_plan);
    Adopt(name, std::exchange(token.outdated, false));
    if (token.failures == 0 && !token.waiters.empty()) Attempt(name);
    return;
  }
  std::vector<Waiter> waiters = std::move(token.waiters);
  env_.executor.Cancel(token.consent_timer);
  token = Token();
  token.waiters = std::move(waiters);
  publish_(name);
  WatchConsent(name);  // there may be none left whose end is to be told
  LookAtRestored();
  // Where consent is needed now, the attempt says so.
  if (!token.waiters.empty() || UsesRefreshToken(state->record.spec)) Attempt(name);
}

const Windows* Refresher::WindowsOf(const std::string& name) const {
  const auto found = tokens_.find(name);
  return found == tokens_.end() || !found->second.windows ? nullptr : &*found->second.windows;
}

absl::Duration Refresher::LifetimeOf(const std::string& name) const {
  const auto found = tokens_.find(name);
  return found == tokens_.end() ? absl::InfiniteDuration() : found->second.lifetime;
}

absl::Time Refresher::NextAt(const std::string& name) const {
  const auto found = tokens_.find(name);
  if (found == tokens_.end()) return absl::InfiniteFuture();
  const base::BootTime next = NextTry(name, found->second);
  return next == base::BootTime::InfiniteFuture() ? absl::InfiniteFuture()
                                                  : env_.clock.ToWall(next);
}

absl::Duration Refresher::Runway(const Token& token) const {
  return token.windows ? token.windows->expires - env_.clock.BootNow() : absl::ZeroDuration();
}

void Refresher::PlanAt(const std::string& name, base::BootTime when) {
  Token& token = tokens_[name];
  env_.executor.Cancel(token.timer);
  token.next_at = when;
  token.timer = 0;
  if (when == base::BootTime::InfiniteFuture()) return;
  const absl::Duration wait = std::max(absl::ZeroDuration(), when - env_.clock.BootNow());
  token.timer = env_.executor.After(wait, [this, name] {
    const auto found = tokens_.find(name);
    if (found == tokens_.end()) return;
    found->second.timer = 0;
    Attempt(name);
  });
}

void Refresher::EnsureFresh(const std::string& name, absl::Duration timeout, Done done) {
  const auto found = tokens_.find(name);
  if (found == tokens_.end()) {
    done(base::WithReason(absl::NotFoundError(absl::StrCat("there is no token \"", name, "\"")),
                          "NO_SUCH_CREDENTIAL", {{"credential", name}}));
    return;
  }
  Token& token = found->second;
  const CredentialState* state = env_.ledger.Find(name);
  if (token.flight == 0 && token.failures == 0 && state != nullptr) {
    if (const absl::Duration pause = HostPause(*state); pause > timeout) {
      Attempt(name);  // takes its place in the queue
      if (token.failures == 0) return done(HostDown(name, pause));
    }
  }
  if (token.flight == 0 && token.failures > 0) {
    // A failed exchange is waiting for its next attempt; asking does not hurry it.
    const absl::Duration until_next = NextTry(name, token) - env_.clock.BootNow();
    if (until_next > timeout) {
      absl::Status error = token.last_error;
      if (absl::IsUnavailable(error)) {
        error = base::WithRetry(error, std::min(until_next, absl::Duration(kAskAgain)));
      }
      done(std::move(error));
      return;
    }
  }
  Wait(name, timeout, std::move(done));
  const bool queued = QueuedAt(name, token) != nullptr;  // it moves forward now
  if (token.flight == 0 && (token.failures == 0 || queued)) Attempt(name);
}

void Refresher::RefreshNow(const std::string& name, Asked asked, Done done) {
  const auto found = tokens_.find(name);
  if (found == tokens_.end()) {
    EnsureFresh(name, absl::ZeroDuration(), std::move(done));
    return;
  }
  if (found->second.flight != 0) return Wait(name, absl::InfiniteDuration(), std::move(done));
  const CredentialState& state = *env_.ledger.Find(name);
  if (InDoubt(name) && asked != Asked::kInDoubt) {
    // The one thing that must not be hurried: see PlanInDoubt. What is at hand anyway is awaited.
    if (!state.refresh->restored &&
        NextTry(name, found->second) - env_.clock.BootNow() <= absl::Seconds(5)) {
      return Wait(name, absl::InfiniteDuration(), std::move(done));
    }
    return done(Doubtful(name));
  }
  if (const absl::Duration pause = HostPause(state); pause > absl::ZeroDuration()) {
    return done(HostDown(name, pause));
  }
  // Only now: a decision that nothing follows from would be lost.
  if (InDoubt(name)) {
    if (absl::Status status = AllowInDoubt(name); !status.ok()) return done(status);
  }
  Wait(name, absl::InfiniteDuration(), std::move(done));
  found->second.by_person = true;
  Attempt(name);
}

void Refresher::Wait(const std::string& name, absl::Duration timeout, Done done) {
  Waiter waiter;
  waiter.number = next_number_++;
  waiter.done = std::move(done);
  if (timeout < absl::InfiniteDuration()) {
    waiter.timer = env_.executor.After(timeout, [this, name, number = waiter.number] {
      const auto found = tokens_.find(name);
      if (found == tokens_.end()) return;
      std::vector<Waiter>& waiters = found->second.waiters;
      const auto mine = std::find_if(waiters.begin(), waiters.end(),
                                     [&](const Waiter& w) { return w.number == number; });
      if (mine == waiters.end()) return;
      Done late = std::move(mine->done);
      waiters.erase(mine);
      late(base::WithReason(absl::DeadlineExceededError("the refresh is still under way"),
                            "REFRESH_FAILED", {{"credential", name}}));
    });
  }
  tokens_[name].waiters.push_back(std::move(waiter));
}

void Refresher::Land(const std::string& name, const absl::Status& status) {
  std::vector<Waiter> waiters = std::move(tokens_[name].waiters);
  tokens_[name].waiters.clear();
  for (Waiter& waiter : waiters) {
    env_.executor.Cancel(waiter.timer);
    waiter.done(status);
  }
}

void Refresher::Attempt(const std::string& name) {
  const CredentialState* state = env_.ledger.Find(name);
  Token& token = tokens_[name];
  if (state == nullptr || token.flight != 0 || env_.ledger.taken()) return;
  PlanAt(name, base::BootTime::InfiniteFuture());
  if (InDoubt(name) && state->refresh->restored) return AwaitDecision(name);
  if (UsesRefreshToken(state->record.spec) &&
      (!state->refresh || state->refresh->refresh_token.empty() || state->refresh->needs_consent)) {
    token.failures = 1;  // so that gets are answered at once until a person has acted
    token.last_error = NeedsConsent(*state);
    Alert(name, FailureCode::kNeedsConsent, "no_refresh_token", 0, absl::InfinitePast(),
          ConsentCommand(*state));
    Land(name, token.last_error);
    return;
  }
  Enqueue(name, *state);
}

// Before a refresh token is used, the store says so: what a crash leaves behind is then known.
bool Refresher::JournalInFlight(const std::string& name, const CredentialState& state) {
  if (state.record.spec.oauth().refresh_token() == v1::KEEPS) return true;
  store::RefreshRecord record = *state.refresh;
  if (record.inflight_since == store::kNever) {
    record.inflight_since = env_.clock.WallNow();
    record.inflight_boot = env_.clock.Stamp(env_.clock.BootNow());
  } else {
    // A repetition. The server's leeway began with the first use that it saw, and whatever becomes
    // of this one says nothing about that.
    record.in_doubt = true;
  }
  store::Transaction transaction;
  transaction.Put(std::move(record));
  if (absl::Status status = env_.ledger.Commit(transaction); !status.ok()) {
    tokens_[name].flight = 0;
    // It may be a repetition: then nothing is known that was not known before.
    RetryLater(name, FailureCode::kStoreFull,
               absl::IsResourceExhausted(status) ? "disk_full" : "store_error", 0,
               absl::ZeroDuration(), true);
    return false;
  }
  if (absl::Status status = env_.ledger.DropAnchor(); !status.ok()) {
    env_.log.Write(observe::Level::kWarning, "anchor_not_written",
                   {{"credential", name},
                    {"cause", status.message()},
                    {"detail",
                     "a copy of the store from before now would not be noticed, were it "
                     "put back"}});
  }
  return true;
}

bool Refresher::HoldsSent(const Token& token, const CredentialState& state) const {
  return !token.sent.empty() && UsesRefreshToken(state.record.spec) && state.refresh &&
         state.refresh->refresh_token == token.sent;
}

void Refresher::StartOver(const std::string& name) {
  Token& token = tokens_[name];
  token.flight = 0;
  token.outdated = token.hurried = false;
  token.failures = 0;
  token.last_error = absl::OkStatus();
  Attempt(name);
}

void Refresher::OnReply(const std::string& name, uint64_t flight, TokenReply reply) {
  const auto found = tokens_.find(name);
  if (found == tokens_.end() || found->second.flight != flight ||
      env_.ledger.Find(name) == nullptr) {
    return;
  }
  // Metadata may have been asked for before the exchange itself was sent.
  if (found->second.sent_at < reply.sent_at) found->second.sent_at = reply.sent_at;
  if (reply.outcome == TokenOutcome::kGranted) {
    Accept(name, flight, std::move(reply));
    return;
  }
  OnFailure(name, reply);
}

void Refresher::Accept(const std::string& name, uint64_t flight, TokenReply reply) {
  const auto found = tokens_.find(name);
  if (found == tokens_.end() || found->second.flight != flight) return;
  Token& token = found->second;
  const CredentialState* state = env_.ledger.Find(name);
  // What a person put meanwhile, or an administrator changed, counts. A refresh token that is still
  // held was used up by this flight all the same: then what came in its place is stored.
  const bool held = HoldsSent(token, *state);
  if (!held && (token.outdated || !token.sent.empty())) return StartOver(name);
  const absl::Time now = env_.clock.WallNow();
  store::Transaction transaction;
  const NewToken fresh = PutToken(transaction, *state, reply,
                                  state->refresh ? state->refresh->dpop_key : base::Secret());
  if (held) {
    store::RefreshRecord refresh = *state->refresh;
    refresh.EndFlight();
    refresh.last_used_at = env_.clock.ToWall(reply.sent_at);
    if (!reply.refresh_token.empty()) {
      refresh.refresh_token = reply.refresh_token;
      refresh.refresh_token_since = now;
    }
    if (reply.refresh_expires_in < absl::InfiniteDuration()) {
      refresh.refresh_token_expires_at =
          env_.clock.ToWall(reply.sent_at) + reply.refresh_expires_in;
    }
    transaction.Put(std::move(refresh));
  }
  env_.ledger.AddHistory(transaction, {.credential = name,
                                       .at = now,
                                       .started_at = token.flight_started,
                                       .what = "refresh",
                                       .outcome = "succeeded",
                                       .version = fresh.version,
                                       .detail = ""});
  base::CrashPoint("refresh:before_commit");
  if (absl::Status status = env_.ledger.Commit(transaction); !status.ok()) {
    if (env_.ledger.taken()) return;
    // The reply may hold the only refresh token that still works: keep it until it is stored.
    Alert(name, FailureCode::kStoreFull,
          absl::IsResourceExhausted(status) ? "disk_full" : "store_error", 0,
          now + absl::Seconds(1), std::string(status.message()));
    env_.executor.After(absl::Seconds(1), [this, name, flight, reply = std::move(reply)]() mutable {
      Accept(name, flight, std::move(reply));
    });
    return;
  }
  base::CrashPoint("refresh:after_commit");
  const bool outdated = token.outdated;
  Settle(name, reply.sent_at, fresh.lifetime);
  if (outdated) return StartOver(name);
  if (reply.expires_in == absl::InfiniteDuration()) {
    AskLifetime(name, fresh.version, reply.sent_at);
  }
}

}  // namespace keyturn::lifecycle::oauth

// SPDX-License-Identifier: Apache-2.0
// How Refresher sends: through the gate of each authorization server, which spares a server that is
// down and puts those first whom somebody waits for. And what it does about consent that ends.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/base/crash_point.h"
#include "agent/base/error.h"
#include "agent/lifecycle/oauth/consent_expiry.h"
#include "agent/lifecycle/oauth/oauth_checks.h"
#include "agent/lifecycle/oauth/refresher.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/resources.h"
#include "agent/lifecycle/schedule.h"
#include "agent/providers/proof_key.h"

namespace keyturn::lifecycle::oauth {
namespace {

using observe::FailureCode;
using providers::TokenOutcome;
using providers::TokenReply;

// The wall clock may be set meanwhile.
constexpr absl::Duration kLookAgain = absl::Hours(1);
// For a token of another credential that a request needs.
constexpr absl::Duration kSubjectWait = absl::Seconds(30);

std::string GateOf(const v1::CredentialSpec& spec) {
  const bool apart = UsesRefreshToken(spec) && !spec.oauth().refresh_url().empty();
  return absl::AsciiStrToLower(apart ? HostOf(spec.oauth().refresh_url())
                                     : ServerHostOf(spec.oauth()));
}

HostGate::Outcome OutcomeOf(TokenOutcome outcome) {
  switch (outcome) {
    case TokenOutcome::kTransient:
    case TokenOutcome::kUnknown:
      return HostGate::Outcome::kDown;
    case TokenOutcome::kAmbiguous:
      return HostGate::Outcome::kUnclear;
    default:
      return HostGate::Outcome::kUp;
  }
}

}  // namespace

void Refresher::Enqueue(const std::string& name, const CredentialState& state) {
  Token& token = tokens_[name];
  const std::string host = GateOf(state.record.spec);
  if (token.host != host) LeaveHost(name, token);
  token.host = host;
  hosts_[host].gate.Want({name, token.failures > 0 && !token.by_person, !token.waiters.empty(),
                          token.windows ? token.windows->hard : base::BootTime()});
  Pump(host);
}

void Refresher::Pump(const std::string& host_name) {
  while (true) {
    // Looked up anew: what is sent wakes others, who may come here as well.
    const auto found = hosts_.find(host_name);
    if (found == hosts_.end()) return;
    const base::BootTime now = env_.clock.BootNow();
    Host& host = found->second;
    const auto permit = host.gate.Take(now);
    if (!permit) {
      env_.executor.Cancel(host.timer);
      host.timer = 0;
      const base::BootTime next = host.gate.NextAt(now);
      if (next == base::BootTime::InfiniteFuture()) return;
      host.timer = env_.executor.After(next - now, [this, host_name] { Pump(host_name); });
      return;
    }
    if (Send(host_name, *permit)) continue;
    const auto still = hosts_.find(host_name);
    if (still == hosts_.end()) return;
    still->second.gate.Report(*permit, HostGate::Outcome::kNotSent, now);
  }
}

bool Refresher::Send(const std::string& host, const HostGate::Permit& permit) {
  const std::string& name = permit.credential;
  const auto found = tokens_.find(name);
  if (found == tokens_.end() || env_.ledger.Find(name) == nullptr || env_.ledger.taken()) {
    return false;
  }
  Token& token = found->second;
  if (token.flight != 0 || !PutProofKey(name)) return false;
  const CredentialState* state = env_.ledger.Find(name);
  const v1::OAuthSpec& spec = state->record.spec.oauth();
  if (token.in_leeway && InDoubt(name) && !token.doubt_retried &&
      Decide({.rotation = spec.refresh_token(),
              .leeway = ToDuration(spec.leeway()),
              .since_sent = SinceSent(*state)}) != DoubtAction::kRetryInLeeway) {
    // It came too late for the leeway: the machine slept, or the server was spared meanwhile.
    PlanInDoubt(name, *state, /*answered=*/true, absl::ZeroDuration());
    return false;
  }
  if (!SecureSubjects(name)) return false;
  auto request = TokenRequestFor(env_.ledger, *state);
  if (!request.ok()) {
    token.last_error = request.status();
    RetryLater(name, FailureCode::kRefreshFailed, "client_secret_missing", 0, absl::ZeroDuration(),
               true);
    return false;
  }
  token.by_person = false;
  token.outdated = token.hurried = false;
  // The one careful retry is made when it is sent, and not when it is planned.
  if (InDoubt(name) && !token.in_leeway) token.doubt_retried = true;
  token.flight = next_number_++;
  token.flight_started = env_.clock.WallNow();
  if (UsesRefreshToken(state->record.spec) && !JournalInFlight(name, *state)) return false;
  token.sent = request->refresh_token;
  token.sent_at = env_.clock.BootNow();
  base::CrashPoint("refresh:after_journal");
  env_.server.Request(
      *std::move(request), [this, name, host, permit, flight = token.flight](TokenReply reply) {
        base::CrashPoint("refresh:after_reply");
        env_.executor.Post([this, name, host, permit, flight, reply = std::move(reply)]() mutable {
          const TokenOutcome outcome = reply.outcome;
          OnReply(name, flight, std::move(reply));
          Heard(host, permit, outcome);
        });
      });
  base::CrashPoint("refresh:after_send");
  return true;
}

bool Refresher::SecureSubjects(const std::string& name) {
  const v1::OAuthSpec& spec = env_.ledger.Find(name)->record.spec.oauth();
  for (const SecretField& field : SecretsOf(spec)) {
    const std::string& holder = field.ref->credential();
    const CredentialState* state = env_.ledger.Find(holder);
    if (state == nullptr || !state->record.spec.has_oauth()) continue;
    const Windows* windows = WindowsOf(holder);
    if (windows != nullptr && env_.clock.BootNow() < windows->hard) continue;
    Token& token = tokens_[name];
    token.flight = next_number_++;  // to others, it is under way
    token.sent = base::Secret();
    EnsureFresh(holder, kSubjectWait, [this, name, flight = token.flight](absl::Status status) {
      const auto found = tokens_.find(name);
      if (found == tokens_.end() || found->second.flight != flight) return;
      found->second.flight = 0;
      if (status.ok()) return Attempt(name);
      RetryLater(name, FailureCode::kRefreshFailed, "subject_token_unavailable", 0,
                 absl::ZeroDuration(), true);
    });
    return false;
  }
  return true;
}

void Refresher::Heard(const std::string& host_name, const HostGate::Permit& permit,
                      TokenOutcome outcome) {
  const auto found = hosts_.find(host_name);
  if (found == hosts_.end()) return;
  Host& host = found->second;
  const base::BootTime until = host.gate.down_until();
  host.gate.Report(permit, OutcomeOf(outcome), env_.clock.BootNow());
  if (!host.gate.down()) {
    if (std::exchange(host.told, false)) {
      env_.failures.Resolve(FailureCode::kProviderDown,
                            observe::SubjectOf({.provider = host_name}));
    }
  } else if (!host.told || !(host.gate.down_until() == until)) {
    host.told = true;
    TellDown(host_name);
  }
  Pump(host_name);
}

void Refresher::TellDown(const std::string& host_name) {
  const HostGate& gate = hosts_[host_name].gate;
  const absl::Duration pause = gate.down_until() - env_.clock.BootNow();
  env_.failures.Open({.code = FailureCode::kProviderDown,
                      .provider = host_name,
                      .provider_class = "oauth",
                      .cause = "requests_failed",
                      .next_retry = env_.clock.ToWall(gate.down_until()),
                      .detail = "its tokens are refreshed once it answers again"});
  std::vector<std::string> waiting;
  for (const auto& [name, token] : tokens_) {
    if (token.host == host_name && token.flight == 0 && gate.Wants(name)) waiting.push_back(name);
  }
  for (const std::string& name : waiting) Land(name, HostDown(name, pause));
}

// It wants nothing of that server any more.
void Refresher::LeaveHost(const std::string& name, Token& token) {
  const auto found = hosts_.find(token.host);
  const std::string host = std::exchange(token.host, "");
  if (found == hosts_.end()) return;
  found->second.gate.Forget(name);
  const bool used = std::any_of(tokens_.begin(), tokens_.end(),
                                [&](const auto& entry) { return entry.second.host == host; });
  if (used) return;
  env_.executor.Cancel(found->second.timer);
  if (found->second.told) {
    env_.failures.Resolve(FailureCode::kProviderDown, observe::SubjectOf({.provider = host}));
  }
  hosts_.erase(found);
}

const HostGate* Refresher::QueuedAt(const std::string& name, const Token& token) const {
  const auto found = hosts_.find(token.host);
  if (found == hosts_.end() || !found->second.gate.Wants(name)) return nullptr;
  return &found->second.gate;
}

base::BootTime Refresher::NextTry(const std::string& name, const Token& token) const {
  const HostGate* gate = QueuedAt(name, token);
  return gate == nullptr ? token.next_at : gate->NextAt(env_.clock.BootNow());
}

absl::Duration Refresher::HostPause(const CredentialState& state) const {
  const auto found = hosts_.find(GateOf(state.record.spec));
  if (found == hosts_.end() || !found->second.gate.down()) return absl::ZeroDuration();
  return std::max(absl::ZeroDuration(), found->second.gate.down_until() - env_.clock.BootNow());
}

absl::Status Refresher::HostDown(const std::string& name, absl::Duration pause) const {
  return base::WithRetry(
      base::WithReason(absl::UnavailableError(absl::StrCat("the authorization server of \"", name,
                                                           "\" does not answer")),
                       "REFRESH_FAILED", {{"credential", name}}),
      pause);
}

// The key that tokens are bound to is stored before the server hears of it.
bool Refresher::PutProofKey(const std::string& name) {
  const CredentialState& state = *env_.ledger.Find(name);
  if (!state.record.spec.oauth().dpop()) return true;
  if (state.refresh && !state.refresh->dpop_key.empty()) return true;
  absl::StatusOr<base::Secret> key = providers::NewProofKey();
  absl::Status status = key.status();
  if (status.ok()) {
    store::RefreshRecord record = state.refresh ? *state.refresh : store::RefreshRecord();
    record.credential = name;
    record.dpop_key = *std::move(key);
    store::Transaction transaction;
    transaction.Put(std::move(record));
    status = env_.ledger.Commit(transaction);
  }
  if (status.ok()) return true;
  RetryLater(name, FailureCode::kStoreFull,
             absl::IsResourceExhausted(status) ? "disk_full" : "store_error", 0,
             absl::ZeroDuration(), true);
  return false;
}

base::BootTime Refresher::NextRefresh(const std::string& name) const {
  const auto found = tokens_.find(name);
  const base::BootTime now = env_.clock.BootNow();
  if (found == tokens_.end() || !found->second.windows) return now;
  const absl::Time alive = KeepAliveAt(*env_.ledger.Find(name));
  const base::BootTime soft = found->second.windows->soft;
  return alive == absl::InfiniteFuture() ? soft : std::min(soft, env_.clock.ToBoot(alive));
}

void Refresher::OnClockSet(const std::string& name) {
  const auto found = tokens_.find(name);
  if (found == tokens_.end()) return;
  WatchConsent(name);
  const Token& token = found->second;
  if (token.flight == 0 && token.failures == 0) PlanAt(name, NextRefresh(name));
}

void Refresher::WatchConsent(const std::string& name) {
  const CredentialState* state = env_.ledger.Find(name);
  const auto found = tokens_.find(name);
  if (state == nullptr || found == tokens_.end()) return;
  Token& token = found->second;
  env_.executor.Cancel(token.consent_timer);
  token.consent_timer = 0;
  const absl::Time now = env_.clock.WallNow();
  const absl::Time until = ConsentUntil(*state);
  if (until == absl::InfiniteFuture()) {
    env_.failures.Resolve(FailureCode::kExpiresSoon, name);
    return;
  }
  const store::RefreshRecord& refresh = *state->refresh;
  const absl::Time since =
      refresh.consented_at != store::kNever ? refresh.consented_at : refresh.refresh_token_since;
  const ConsentNotice notice = NoticeOf(since, until, now);
  if (notice.due == 0) {
    env_.failures.Resolve(FailureCode::kExpiresSoon, name);
    token.consent_told = absl::InfinitePast();
  } else if (token.consent_told != until || token.consent_notices != notice.due) {
    token.consent_told = until;
    token.consent_notices = notice.due;
    env_.failures.Open(
        {.code = FailureCode::kExpiresSoon,
         .credential = name,
         .provider = ServerHostOf(state->record.spec.oauth()),
         .provider_class = "oauth",
         .cause = "consent_ends",
         .runway = std::max(absl::ZeroDuration(), until - now),
         .detail = absl::StrCat("a person must consent again: keyturn ",
                                HasLogin(state->record.spec) ? "login " : "put ", name)});
  }
  if (notice.next == absl::InfiniteFuture()) return;
  token.consent_timer = env_.executor.After(
      std::clamp(notice.next - now, absl::Duration(absl::Seconds(1)), absl::Duration(kLookAgain)),
      [this, name] { WatchConsent(name); });
}

}  // namespace keyturn::lifecycle::oauth

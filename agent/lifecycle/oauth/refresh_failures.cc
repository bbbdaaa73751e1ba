// SPDX-License-Identifier: Apache-2.0
// What Refresher does when an exchange brought no token: which failure it is, when to try again and
// whom to tell. The rules are docs/ROTATION.md.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/base/backoff.h"
#include "agent/base/error.h"
#include "agent/lifecycle/oauth/refresher.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/resources.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle::oauth {
namespace {

using observe::FailureCode;
using providers::TokenOutcome;
using providers::TokenReply;

constexpr absl::Duration kClientRefusedWait = absl::Minutes(15);
// Proxies' pages are reported once they persist.
constexpr uint32_t kAmbiguousReported = 3;
// How long a request that nobody answered may still be on its way.
constexpr absl::Duration kOnItsWay = absl::Seconds(30);

}  // namespace

std::string ConsentCommand(const CredentialState& state) {
  return absl::StrCat(HasLogin(state.record.spec) ? "keyturn login " : "keyturn put ",
                      state.record.name);
}

absl::Status NeedsConsent(const CredentialState& state) {
  return base::WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "\"", state.record.name,
          "\" has no refresh token that works; an administrator must see to a new one: ",
          ConsentCommand(state))),
      "NEEDS_CONSENT", {{"credential", state.record.name}});
}

void Refresher::OnFailure(const std::string& name, const TokenReply& reply) {
  const CredentialState& state = *env_.ledger.Find(name);
  Token& token = tokens_[name];
  token.flight = 0;
  const bool held = HoldsSent(token, state);
  if (reply.outcome == TokenOutcome::kUnknown && held &&
      state.record.spec.oauth().refresh_token() != v1::KEEPS) {
    token.outdated = false;
    OnDoubt(name, reply);
    return;
  }
  if (held && state.refresh->inflight_since != store::kNever && !state.refresh->in_doubt &&
      reply.outcome != TokenOutcome::kInvalidGrant) {
    // Definitely nothing happened to the refresh token. Should this commit fail, a restart is only
    // more careful than it need be.
    store::RefreshRecord record = *state.refresh;
    record.EndFlight();
    store::Transaction transaction;
    transaction.Put(std::move(record));
    (void)env_.ledger.Commit(transaction);
  }
  // What it failed for may be there since.
  const bool hurried = token.hurried && (reply.outcome == TokenOutcome::kClientRefused ||
                                         (reply.outcome == TokenOutcome::kInvalidGrant && !held));
  // Another one is wanted meanwhile, or in other terms.
  if (token.outdated || hurried || (!token.sent.empty() && !held)) return StartOver(name);
  if (reply.outcome == TokenOutcome::kInvalidGrant && held) return OnInvalidGrant(name, reply);
  switch (reply.outcome) {
    case TokenOutcome::kClientRefused:
    case TokenOutcome::kInvalidGrant:
      RetryLater(name, FailureCode::kRefreshFailed, reply.cause, reply.http_status,
                 kClientRefusedWait, true);
      return;
    case TokenOutcome::kAmbiguous:
      RetryLater(name, FailureCode::kRefreshFailed, reply.cause, reply.http_status,
                 reply.retry_after, ++token.ambiguous >= kAmbiguousReported);
      return;
    default:
      RetryLater(name, FailureCode::kRefreshFailed, reply.cause, reply.http_status,
                 reply.retry_after, true);
  }
}

void Refresher::OnInvalidGrant(const std::string& name, const TokenReply& reply) {
  Token& token = tokens_[name];
  store::RefreshRecord record = *env_.ledger.Find(name)->refresh;
  record.needs_consent = true;
  record.EndFlight();
  store::Transaction transaction;
  transaction.Put(std::move(record));
  (void)env_.ledger.Commit(transaction);  // lost: the next start asks once more and learns the same
  token.failures = 1;
  const CredentialState& state = *env_.ledger.Find(name);
  token.last_error = NeedsConsent(state);
  PlanAt(name, base::BootTime::InfiniteFuture());
  env_.failures.Resolve(FailureCode::kRefreshInDoubt, name);
  Alert(name, FailureCode::kNeedsConsent, reply.cause, reply.http_status, absl::InfinitePast(),
        absl::StrCat("the refresh token is no longer accepted; ", ConsentCommand(state)));
  WatchConsent(name);
  LookAtRestored();
  Land(name, token.last_error);
}

void Refresher::OnDoubt(const std::string& name, const TokenReply& reply) {
  Token& token = tokens_[name];
  const CredentialState& state = *env_.ledger.Find(name);
  if (!state.refresh->in_doubt) {
    store::RefreshRecord record = *state.refresh;
    record.in_doubt = true;
    store::Transaction transaction;
    transaction.Put(std::move(record));
    (void)env_.ledger.Commit(transaction);  // inflight_since says the same after a restart
  }
  token.last_error = base::WithReason(
      absl::UnavailableError(absl::StrCat("the refresh of \"", name, "\" had no clear outcome")),
      "REFRESH_IN_DOUBT", {{"credential", name}});
  if (token.doubt_retried) {
    RetryLater(name, FailureCode::kRefreshInDoubt, reply.cause, reply.http_status,
               reply.retry_after, true);
    return;
  }
  PlanInDoubt(name, *env_.ledger.Find(name), /*answered=*/reply.http_status != 0,
              reply.retry_after);
  Alert(name, FailureCode::kRefreshInDoubt, reply.cause, reply.http_status, NextAt(name), "");
  // Whoever waits goes on waiting when the next attempt is at hand.
  if (token.next_at - env_.clock.BootNow() > absl::Seconds(2)) Land(name, token.last_error);
}

absl::Duration Refresher::SinceSent(const CredentialState& state) const {
  const store::RefreshRecord& refresh = *state.refresh;
  const absl::Duration since =
      env_.clock.BootNow() - env_.clock.ToBoot(refresh.inflight_since, refresh.inflight_boot);
  // The date was set back: nothing is known but that it is no leeway to count on.
  return since < absl::ZeroDuration() ? absl::InfiniteDuration() : since;
}

absl::Duration Refresher::OnItsWay(const Token& token, const CredentialState& state) const {
  // By this process; or, when there was but one use, at the moment of that one.
  if (token.sent_at) return kOnItsWay - (env_.clock.BootNow() - *token.sent_at);
  return state.refresh->in_doubt ? kOnItsWay : kOnItsWay - SinceSent(state);
}

bool Refresher::InDoubt(const std::string& name) const {
  const CredentialState* state = env_.ledger.Find(name);
  return state != nullptr && state->refresh && UsesRefreshToken(state->record.spec) &&
         (state->refresh->inflight_since != store::kNever || state->refresh->restored) &&
         state->record.spec.oauth().refresh_token() != v1::KEEPS;
}

absl::Status Refresher::Doubtful(const std::string& name) const {
  const CredentialState& state = *env_.ledger.Find(name);
  const std::string way_out =
      absl::StrCat("new consent ends the doubt: ", ConsentCommand(state),
                   "; to take the risk: keyturn refresh ", name, " --in-doubt");
  if (state.refresh->restored) {
    return base::WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "\"", name,
            "\" was put back from an older copy of the store; its refresh token may have been used "
            "since, and using it again could end the grant. ",
            absl::AsciiStrToUpper(way_out.substr(0, 1)), way_out.substr(1))),
        "REFRESH_IN_DOUBT", {{"credential", name}});
  }
  return base::WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "nobody knows whether the last refresh of \"", name,
          "\" reached the server; using its refresh token again now could end the grant. The next "
          "attempt is planned for ",
          absl::FormatTime(absl::RFC3339_sec, NextAt(name), absl::UTCTimeZone()), "; ", way_out)),
      "REFRESH_IN_DOUBT", {{"credential", name}});
}

void Refresher::AwaitDecision(const std::string& name) {
  Token& token = tokens_[name];
  token.failures = 1;  // so that gets are answered at once
  token.last_error = Doubtful(name);
  PlanAt(name, base::BootTime::InfiniteFuture());
  Alert(name, FailureCode::kRefreshInDoubt, "restored_backup", 0, absl::InfinitePast(),
        std::string(token.last_error.message()));
  Land(name, token.last_error);
}

absl::Status Refresher::AllowInDoubt(const std::string& name) {
  tokens_[name].in_leeway = false;
  const CredentialState& state = *env_.ledger.Find(name);
  if (!state.refresh->restored) return absl::OkStatus();
  store::RefreshRecord record = *state.refresh;
  record.restored = false;
  store::Transaction transaction;
  transaction.Put(std::move(record));
  absl::Status status = env_.ledger.Commit(transaction);
  if (status.ok()) LookAtRestored();
  return status;
}

void Refresher::LookAtRestored() {
  if (!restored_) return;
  for (const auto& [name, state] : env_.ledger.credentials()) {
    if (state.refresh && state.refresh->restored) return;
  }
  restored_ = false;
  env_.failures.Resolve(FailureCode::kRollbackDetected, observe::SubjectOf({}));
}

absl::Status Refresher::DoubtAll() {
  store::Transaction transaction;
  for (const auto& [name, state] : env_.ledger.credentials()) {
    if (!UsesRefreshToken(state.record.spec) || !state.refresh ||
        state.refresh->refresh_token.empty() || state.refresh->needs_consent ||
        state.record.spec.oauth().refresh_token() == v1::KEEPS) {
      continue;
    }
    store::RefreshRecord record = *state.refresh;
    record.restored = true;
    transaction.Put(std::move(record));
  }
  restored_ = true;
  absl::Status status = env_.ledger.Commit(transaction);
  if (status.ok()) LookAtRestored();
  return status;
}

void Refresher::PlanInDoubt(const std::string& name, const CredentialState& state, bool answered,
                            absl::Duration floor) {
  Token& token = tokens_[name];
  const base::BootTime now = env_.clock.BootNow();
  const v1::OAuthSpec& spec = state.record.spec.oauth();
  Doubt doubt;
  doubt.rotation = spec.refresh_token();
  doubt.leeway = ToDuration(spec.leeway());
  doubt.since_sent = SinceSent(state);
  doubt.until_hard = token.windows ? token.windows->hard - now : absl::ZeroDuration();
  doubt.retried = token.doubt_retried;
  ++token.failures;
  token.in_leeway = false;
  if (token.last_error.ok()) {
    token.last_error = base::WithReason(
        absl::UnavailableError(absl::StrCat("a refresh of \"", name, "\" was cut off")),
        "REFRESH_IN_DOUBT", {{"credential", name}});
  }
  switch (Decide(doubt)) {
    case DoubtAction::kRetryInLeeway:
      token.in_leeway = true;
      PlanAt(name,
             now + InLeewayWait(doubt, answered ? absl::ZeroDuration() : OnItsWay(token, state),
                                base::Backoff({}, token.failures, floor, env_.random)));
      return;
    case DoubtAction::kWaitForHard:
      PlanAt(name, std::max(token.windows->hard, now + floor));
      return;
    case DoubtAction::kRetryFreely:
    case DoubtAction::kRetryNow:
      PlanAt(name, now + floor);
  }
}

void Refresher::RetryLater(const std::string& name, FailureCode code, absl::string_view cause,
                           int http_status, absl::Duration floor, bool alert) {
  Token& token = tokens_[name];
  ++token.failures;
  const absl::Duration wait =
      base::Backoff(RetryPolicy(Runway(token)), token.failures, floor, env_.random);
  if (token.last_error.ok() || code == FailureCode::kRefreshFailed) {
    const bool keep =
        absl::IsFailedPrecondition(token.last_error) && cause == "client_secret_missing";
    if (!keep) {
      token.last_error = base::WithReason(
          absl::UnavailableError(absl::StrCat("the refresh of \"", name, "\" failed: ", cause)),
          observe::FailureCodeName(code), {{"credential", name}});
    }
  }
  PlanAt(name, env_.clock.BootNow() + wait);
  if (alert) Alert(name, code, cause, http_status, NextAt(name), "");
  absl::Status error = token.last_error;
  if (absl::IsUnavailable(error)) error = base::WithRetry(std::move(error), wait);
  Land(name, error);
}

void Refresher::Alert(const std::string& name, FailureCode code, absl::string_view cause,
                      int http_status, absl::Time next_retry, std::string detail) {
  const CredentialState* state = env_.ledger.Find(name);
  const Token& token = tokens_[name];
  env_.failures.Open({.code = code,
                      .credential = name,
                      .provider = ServerHostOf(state->record.spec.oauth()),
                      .provider_class = "oauth",
                      .attempt = token.failures,
                      .cause = std::string(cause),
                      .http_status = http_status,
                      .next_retry = next_retry,
                      .runway = std::max(absl::ZeroDuration(), Runway(token)),
                      .detail = std::move(detail)});
}

}  // namespace keyturn::lifecycle::oauth

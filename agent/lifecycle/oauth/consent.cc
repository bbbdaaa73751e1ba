// SPDX-License-Identifier: Apache-2.0
// What Refresher does with tokens that are new: it stores them, whether a refresh or a person's
// consent brought them, and only then hands them out.
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/crash_point.h"
#include "agent/lifecycle/oauth/oauth_checks.h"
#include "agent/lifecycle/oauth/refresher.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle::oauth {
namespace {

using observe::FailureCode;
using providers::TokenReply;

// When neither the server nor the resource states a lifetime.
constexpr absl::Duration kDefaultLifetime = absl::Hours(1);

}  // namespace

Refresher::NewToken Refresher::PutToken(store::Transaction& transaction,
                                        const CredentialState& state, const TokenReply& reply,
                                        const base::Secret& dpop_key) const {
  const v1::OAuthSpec& spec = state.record.spec.oauth();
  absl::Duration lifetime = reply.expires_in;
  if (lifetime == absl::InfiniteDuration()) {
    lifetime = spec.has_default_lifetime() ? ToDuration(spec.default_lifetime()) : kDefaultLifetime;
  }
  const absl::Time now = env_.clock.WallNow();
  store::CredentialRecord credential = state.record;
  store::VersionRecord version;
  version.credential = credential.name;
  version.number = ++credential.last_version;
  version.state = store::VersionState::kCurrent;
  version.value.primary = "access_token";
  version.value.fields.push_back({"access_token", reply.access_token, true});
  // A server may give a token that is not bound, to a client that offered a key.
  if (absl::EqualsIgnoreCase(reply.token_type, "dpop") && !dpop_key.empty()) {
    version.value.fields.push_back({"dpop_key", dpop_key, true});
  }
  version.created_at = version.promoted_at = now;
  version.requested_at = env_.clock.ToWall(reply.sent_at);
  version.requested_boot = env_.clock.Stamp(reply.sent_at);
  version.expires_at = version.requested_at + lifetime;
  if (credential.current_version != 0) {
    transaction.Delete(store::VersionKey(credential.name, credential.current_version));
  }
  credential.current_version = version.number;
  credential.last_rotated = now;
  const uint64_t number = version.number;
  transaction.Put(std::move(credential));
  transaction.Put(std::move(version));
  return {number, lifetime};
}

void Refresher::Settle(const std::string& name, base::BootTime sent_at, absl::Duration lifetime) {
  Token& token = tokens_[name];
  token.flight = 0;
  // Servers that repeat an answer within their leeway may repeat a token that has ended meanwhile.
  const bool over = lifetime == absl::ZeroDuration();
  if (!over) token.failures = 0;
  token.ambiguous = 0;
  token.doubt_retried = false;
  token.in_leeway = false;
  token.sent_at.reset();
  token.last_error = absl::OkStatus();
  token.lifetime = lifetime;
  token.windows = WindowsFor(sent_at, lifetime, env_.random.Uniform());
  publish_(name);
  // A consent that ends soon is not put off by a refresh.
  for (const FailureCode code :
       {FailureCode::kRefreshInDoubt, FailureCode::kNeedsConsent, FailureCode::kStoreFull}) {
    env_.failures.Resolve(code, name);
  }
  if (!over) env_.failures.Resolve(FailureCode::kRefreshFailed, name);
  WatchConsent(name);
  LookAtRestored();
  if (over) {
    return RetryLater(name, FailureCode::kRefreshFailed, "expired_on_arrival", 200,
                      absl::ZeroDuration(), true);
  }
  PlanAt(name, NextRefresh(name));
  Land(name, absl::OkStatus());
  // Those that failed without it.
  for (const auto& [other, waiting] : tokens_) {
    const CredentialState* state = waiting.failures == 0 ? nullptr : env_.ledger.Find(other);
    if (state != nullptr && RefersTo(state->record.spec.oauth(), name)) TryAgain(other);
  }
}

// For servers whose replies do not say (RFC 7662). Until it is known, the default counts.
void Refresher::AskLifetime(const std::string& name, uint64_t version, base::BootTime sent_at) {
  const CredentialState& state = *env_.ledger.Find(name);
  if (!state.record.spec.oauth().introspect()) return;
  auto server = ServerConfigFor(env_.ledger, state);
  if (!server.ok()) return;
  const base::BootTime asked_at = env_.clock.BootNow();
  env_.server.Introspect(
      *std::move(server), *state.Current()->value.Primary(),
      [this, name, version, sent_at,
       asked_at](absl::StatusOr<providers::IntrospectionReply> reply) {
        env_.executor.Post([this, name, version, sent_at, asked_at, reply = std::move(reply)] {
          const CredentialState* now = env_.ledger.Find(name);
          if (now == nullptr || now->record.current_version != version) return;
          // Active and ended cannot both be: believed, it would be refreshed without end.
          if (!reply.ok() || !reply->active || reply->expires_in == absl::InfiniteDuration() ||
              reply->expires_in <= absl::ZeroDuration()) {
            env_.log.Write(observe::Level::kWarning, "lifetime_unknown",
                           {{"credential", name},
                            {"detail",
                             "the server did not say how long the token lives; the "
                             "default counts"}});
            return;
          }
          // What is left was counted no earlier than when it was asked for.
          const absl::Duration lifetime = asked_at - sent_at + reply->expires_in;
          store::VersionRecord record = *now->Current();
          record.expires_at = record.requested_at + lifetime;
          store::Transaction transaction;
          transaction.Put(std::move(record));
          (void)env_.ledger.Commit(transaction);  // lost: a restart counts with the default again
          Token& token = tokens_[name];
          token.lifetime = lifetime;
          token.windows = WindowsFor(sent_at, lifetime, env_.random.Uniform());
          publish_(name);
          if (token.flight == 0 && token.failures == 0) PlanAt(name, NextRefresh(name));
        });
      });
}

void Refresher::Consented(const std::string& name, TokenReply reply, base::Secret dpop_key,
                          Stored done) {
  if (env_.ledger.Find(name) == nullptr) {
    return done(absl::AbortedError("the credential was deleted meanwhile"));
  }
  const uint64_t number = next_number_++;
  tokens_[name].consent = number;
  StoreConsent(name, number, std::move(reply), std::move(dpop_key), std::move(done));
}

void Refresher::DropConsent(const std::string& name) {
  if (const auto found = tokens_.find(name); found != tokens_.end()) found->second.consent = 0;
}

void Refresher::StoreConsent(const std::string& name, uint64_t number, TokenReply reply,
                             base::Secret dpop_key, Stored done) {
  const CredentialState* state = env_.ledger.Find(name);
  const auto found = tokens_.find(name);
  if (state == nullptr || found == tokens_.end() || found->second.consent != number) {
    return done(absl::AbortedError(
        "before this login could be stored, the credential was deleted or changed, or another "
        "refresh token came: from another login, or by put"));
  }
  if (found->second.hold != 0) return done(absl::AbortedError("its tokens are being ended"));
  const absl::Time now = env_.clock.WallNow();
  store::Transaction transaction;
  const NewToken fresh = PutToken(transaction, *state, reply, dpop_key);
  store::RefreshRecord refresh;
  refresh.credential = name;
  // None is an answer too: the one of an earlier consent must not outlive it.
  refresh.refresh_token = reply.refresh_token;
  refresh.consented_at = now;
  if (!reply.refresh_token.empty()) refresh.refresh_token_since = now;
  if (reply.refresh_expires_in < absl::InfiniteDuration()) {
    refresh.refresh_token_expires_at = env_.clock.ToWall(reply.sent_at) + reply.refresh_expires_in;
  }
  refresh.dpop_key = dpop_key;
  transaction.Put(std::move(refresh));
  env_.ledger.AddHistory(transaction, {.credential = name,
                                       .at = now,
                                       .started_at = now,
                                       .what = "login",
                                       .outcome = "succeeded",
                                       .version = fresh.version,
                                       .detail = ""});
  base::CrashPoint("login:before_commit");
  if (absl::Status status = env_.ledger.Commit(transaction); !status.ok()) {
    if (env_.ledger.taken()) return done(status);
    // A person has consented, and the server will not say this again: keep it until it is stored.
    Alert(name, FailureCode::kStoreFull,
          absl::IsResourceExhausted(status) ? "disk_full" : "store_error", 0,
          now + absl::Seconds(1), std::string(status.message()));
    env_.executor.After(
        absl::Seconds(1), [this, name, number, reply = std::move(reply),
                           dpop_key = std::move(dpop_key), done = std::move(done)]() mutable {
          StoreConsent(name, number, std::move(reply), std::move(dpop_key), std::move(done));
        });
    return;
  }
  base::CrashPoint("login:after_commit");
  LeaveHost(name, tokens_[name]);
  tokens_[name].outdated = false;
  Settle(name, reply.sent_at, fresh.lifetime);
  if (reply.expires_in == absl::InfiniteDuration()) {
    AskLifetime(name, fresh.version, reply.sent_at);
  }
  done(fresh.version);
}

}  // namespace keyturn::lifecycle::oauth

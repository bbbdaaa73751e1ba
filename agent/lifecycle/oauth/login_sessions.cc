// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/login_sessions.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/backoff.h"
#include "agent/base/crash_point.h"
#include "agent/base/error.h"
#include "agent/lifecycle/oauth/authorization_url.h"
#include "agent/lifecycle/oauth/login_outcome.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/providers/proof_key.h"

namespace keyturn::lifecycle::oauth {
namespace {

using google::protobuf::util::MessageDifferencer;
using providers::TokenOutcome;
using providers::TokenReply;

// RFC 8628 section 3.5.
constexpr absl::Duration kSlowDown = absl::Seconds(5);
// Between tries after failures, unless the server wants longer intervals anyway.
constexpr absl::Duration kRetryMax = absl::Minutes(1);
// Codes live for a minute or more, and a person waits: a busy server is asked again, but not for
// long.
constexpr uint32_t kCodeTries = 3;
constexpr absl::Duration kCodeWait = absl::Seconds(10);

// Errors say whose login it was: who finishes one knows it by its id only.
absl::Status Named(const std::string& credential, const absl::Status& why) {
  const std::string reason = base::ReasonOf(why);
  return base::WithReason(why, reason.empty() ? "LOGIN_FAILED" : reason,
                          {{"credential", credential}});
}

}  // namespace

LoginSessions::Session* LoginSessions::Find(const std::string& id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

void LoginSessions::Start(const std::string& name, const std::string& redirect_uri, Started done) {
  const CredentialState& state = *env_.ledger.Find(name);
  const v1::OAuthSpec& spec = state.record.spec.oauth();
  const bool device = redirect_uri.empty();
  if (!device) {
    if (absl::Status odd = CheckRedirectUri(redirect_uri); !odd.ok()) return done(odd);
    if (spec.grant() == v1::DEVICE_CODE) return done(ByDeviceOnly(name));
  }
  auto server = ServerConfigFor(env_.ledger, state);
  if (!server.ok()) {
    return done(base::WithReason(server.status(), "NO_VALUE_YET", {{"credential", name}}));
  }
  Session session;
  if (spec.dpop() && server->dpop_key.empty()) {
    auto key = providers::NewProofKey();
    if (!key.ok()) return done(key.status());
    server->dpop_key = *std::move(key);
  }
  Drop(name);
  if (sessions_.size() >= kOpenMax) {
    return done(base::WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            kOpenMax, " logins are open already; finish one, or wait until they run out")),
        "TOO_MANY_LOGINS"));
  }
  session.credential = name;
  session.began_at = env_.clock.WallNow();
  session.spec = spec;
  session.device = device;
  session.redirect_uri = redirect_uri;
  session.issuer = spec.issuer();
  session.dpop_key = server->dpop_key;
  const std::string id(NewUnguessable(env_.random).Reveal());
  sessions_.emplace(id, std::move(session));
  if (device) {
    providers::DeviceRequest request;
    request.scopes.assign(spec.scopes().begin(), spec.scopes().end());
    request.audience = spec.audience();
    request.resources.assign(spec.resources().begin(), spec.resources().end());
    env_.server.StartDevice(
        *std::move(server), std::move(request),
        [this, id, done = std::move(done)](absl::StatusOr<providers::DeviceReply> reply) mutable {
          env_.executor.Post(
              [this, id, done = std::move(done), reply = std::move(reply)]() mutable {
                OnDevice(id, std::move(reply), std::move(done));
              });
        });
    return;
  }
  const providers::Endpoints stated = server->endpoints;
  if (stated.issuer.empty()) return OnEndpoints(id, stated, std::move(done));
  env_.server.Discover(*std::move(server), [this, id, stated, done = std::move(done)](
                                               absl::StatusOr<providers::Endpoints> found) mutable {
    env_.executor.Post(
        [this, id, stated, done = std::move(done), found = std::move(found)]() mutable {
          // Then only what the metadata says beside the addresses is missed.
          if (!found.ok() && !stated.authorization.empty()) found = stated;
          OnEndpoints(id, std::move(found), std::move(done));
        });
  });
}

void LoginSessions::OnEndpoints(const std::string& id,
                                absl::StatusOr<providers::Endpoints> endpoints, Started done) {
  Session* session = Find(id);
  const CredentialState* state =
      session == nullptr ? nullptr : env_.ledger.Find(session->credential);
  if (state == nullptr) return FailStart(id, NoSuchLogin(), std::move(done));
  if (!endpoints.ok()) return FailStart(id, endpoints.status(), std::move(done));
  if (endpoints->authorization.empty()) {
    return FailStart(id,
                     absl::FailedPreconditionError("the server's metadata names no authorization "
                                                   "endpoint; state authorization_url"),
                     std::move(done));
  }
  const v1::OAuthSpec& spec = state->record.spec.oauth();
  session->names_itself = endpoints->names_itself;
  session->state = NewUnguessable(env_.random);
  AuthorizationAsk ask;
  ask.endpoint = endpoints->authorization;
  ask.redirect_uri = session->redirect_uri;
  ask.state = std::string(session->state.Reveal());
  if (!spec.quirks().no_pkce()) {
    session->verifier = NewUnguessable(env_.random);
    ask.challenge = PkceChallenge(session->verifier);
  }
  if (!session->dpop_key.empty()) {
    auto thumbprint = providers::ProofKeyThumbprint(session->dpop_key);
    if (!thumbprint.ok()) return FailStart(id, thumbprint.status(), std::move(done));
    ask.thumbprint = *std::move(thumbprint);
  }
  Open(id, kOpenFor);
  v1::StartLoginResponse response;
  response.set_login_id(id);
  response.set_authorization_url(AuthorizationUrl(spec, ask));
  response.mutable_expires_at()->set_seconds(absl::ToUnixSeconds(session->expires_at));
  done(std::move(response));
}

void LoginSessions::OnDevice(const std::string& id, absl::StatusOr<providers::DeviceReply> reply,
                             Started done) {
  Session* session = Find(id);
  if (session == nullptr) return FailStart(id, NoSuchLogin(), std::move(done));
  if (absl::IsUnimplemented(reply.status())) {
    // It is the server that knows no such thing, not this agent.
    return FailStart(id, absl::FailedPreconditionError(reply.status().message()), std::move(done));
  }
  if (!reply.ok()) return FailStart(id, reply.status(), std::move(done));
  session->code = std::move(reply->device_code);
  session->interval = std::max(reply->interval, absl::Seconds(1));
  Open(id, std::min(kOpenFor, reply->expires_in));
  v1::StartLoginResponse response;
  response.set_login_id(id);
  response.set_user_code(reply->user_code);
  response.set_verification_uri(reply->verification_uri);
  response.set_verification_uri_complete(reply->verification_uri_complete);
  response.mutable_expires_at()->set_seconds(absl::ToUnixSeconds(session->expires_at));
  PollAfter(id, session->interval);
  done(std::move(response));
}

void LoginSessions::Open(const std::string& id, absl::Duration lasts) {
  Session& session = sessions_.at(id);
  session.phase = Phase::kOpen;
  session.expires_at = env_.clock.WallNow() + lasts;
  session.expiry = env_.executor.After(lasts, [this, id] { Expire(id); });
}

void LoginSessions::FailStart(const std::string& id, const absl::Status& why, Started done) {
  sessions_.erase(id);
  if (!base::ReasonOf(why).empty()) return done(why);
  done(base::WithReason(why, "LOGIN_FAILED"));
}

void LoginSessions::Finish(const std::string& name, const std::string& id,
                           const base::Secret& redirected_to, Finished done) {
  Session* session = Find(id);
  if (session == nullptr || session->credential != name) return done(NoSuchLogin());
  if (session->device != redirected_to.empty()) {
    return done(absl::InvalidArgumentError(
        session->device ? "a login on another device ends without an address"
                        : "the address that the browser was sent back to is missing"));
  }
  if (session->waiter) session->waiter(absl::AbortedError("somebody else waits for this login"));
  session->waiter = std::move(done);
  if (session->phase == Phase::kDecided) return Decide(id, *std::move(session->outcome));
  if (session->device || session->phase != Phase::kOpen) return;
  if (absl::Status wrong = ReadCode(*session, redirected_to); !wrong.ok()) {
    return Decide(id, wrong);
  }
  Exchange(id);
}

absl::Status LoginSessions::ReadCode(Session& session, const base::Secret& redirected_to) const {
  auto said = ReadRedirect(session.redirect_uri, redirected_to);
  if (!said.ok()) return WrongRedirect(said.status().message());
  if (!(said->state == session.state)) {
    return WrongRedirect(
        "the address does not belong to this login (its state differs): it is from an earlier one, "
        "or somebody tried to slip in another account; begin the login again");
  }
  if (said->issuer.empty() && session.names_itself) {
    return WrongRedirect(
        "the address names no issuer (its iss is missing), though the server's metadata promises "
        "one in every address: another server sent it, or it was cut short; begin the login again "
        "and copy the address whole. If that server never sends iss, its metadata is wrong: state "
        "authorization_url and token_url instead of issuer");
  }
  if (!said->issuer.empty() && !session.issuer.empty() && said->issuer != session.issuer) {
    return WrongRedirect(absl::StrCat("another server answered than the one asked (its iss is not ",
                                      session.issuer,
                                      "); compare issuer with what the server's metadata says"));
  }
  if (!said->error.empty()) return RefusedInBrowser(said->error);
  session.code = std::move(said->code);
  return absl::OkStatus();
}

void LoginSessions::PollAfter(const std::string& id, absl::Duration wait) {
  sessions_.at(id).poll = env_.executor.After(wait, [this, id] { Exchange(id); });
}

absl::Status LoginSessions::CheckTerms(const Session& session) const {
  const CredentialState* state = env_.ledger.Find(session.credential);
  if (state != nullptr && MessageDifferencer::Equals(state->record.spec.oauth(), session.spec)) {
    return absl::OkStatus();
  }
  return base::WithReason(
      absl::AbortedError("the credential was changed meanwhile; begin the login again"),
      "LOGIN_FAILED");
}

void LoginSessions::Exchange(const std::string& id) {
  Session& session = sessions_.at(id);
  if (absl::Status changed = CheckTerms(session); !changed.ok()) return Decide(id, changed);
  auto request = TokenRequestFor(env_.ledger, *env_.ledger.Find(session.credential));
  if (!request.ok()) {
    return Decide(id, base::WithReason(request.status(), "NO_VALUE_YET",
                                       {{"credential", session.credential}}));
  }
  request->grant =
      session.device ? providers::Grant::kDeviceCode : providers::Grant::kAuthorizationCode;
  request->refresh_token.Clear();
  request->server.dpop_key = session.dpop_key;
  if (session.device) {
    request->device_code = session.code;
  } else {
    request->code = session.code;
    request->redirect_uri = session.redirect_uri;
    request->code_verifier = session.verifier;
  }
  session.phase = Phase::kExchanging;
  env_.server.Request(*std::move(request), [this, id](TokenReply reply) {
    base::CrashPoint("login:after_reply");
    env_.executor.Post(
        [this, id, reply = std::move(reply)]() mutable { OnReply(id, std::move(reply)); });
  });
  base::CrashPoint("login:after_send");
}

void LoginSessions::OnReply(const std::string& id, TokenReply reply) {
  Session* session = Find(id);
  if (session == nullptr) return;
  if (reply.outcome != TokenOutcome::kGranted) return OnNoTokens(id, reply);
  // Another server may be named now, to which these tokens must not go.
  if (absl::Status changed = CheckTerms(*session); !changed.ok()) return Decide(id, changed);
  std::vector<std::string> scopes = reply.scopes;
  refresher_.Consented(
      session->credential, std::move(reply), session->dpop_key,
      [this, id, scopes = std::move(scopes)](const absl::StatusOr<uint64_t>& version) {
        OnStored(id, scopes, version);
      });
}

void LoginSessions::OnNoTokens(const std::string& id, const TokenReply& reply) {
  Session& session = sessions_.at(id);
  const bool passing = reply.outcome == TokenOutcome::kTransient;
  if (!session.device) {
    const absl::Duration wait = std::max(absl::Seconds(1), reply.retry_after);
    if (!passing || ++session.failures >= kCodeTries || wait > kCodeWait) {
      return Decide(id, ExchangeFailed(reply));
    }
    return PollAfter(id, wait);
  }
  if (session.expired) return Decide(id, LoginExpired());
  session.phase = Phase::kOpen;
  if (reply.outcome == TokenOutcome::kPending) {
    session.failures = 0;
    // For good, unlike a wait that comes with an answer.
    if (reply.cause == "slow_down") {
      session.interval = std::max(session.interval + kSlowDown, reply.retry_after);
    }
    return PollAfter(id, std::max(session.interval, reply.retry_after));
  }
  if (!passing && reply.outcome != TokenOutcome::kUnknown &&
      reply.outcome != TokenOutcome::kAmbiguous) {
    return Decide(id, ExchangeFailed(reply));
  }
  ++session.failures;
  const absl::Duration cap = std::max(session.interval, kRetryMax);
  PollAfter(id, base::Backoff({.base = session.interval, .cap = cap}, session.failures,
                              std::max(session.interval, reply.retry_after), env_.random));
}

void LoginSessions::OnStored(const std::string& id, const std::vector<std::string>& scopes,
                             absl::StatusOr<uint64_t> version) {
  const Session* session = Find(id);
  if (session == nullptr) return;
  if (!version.ok()) return Decide(id, version.status());
  const CredentialState& state = *env_.ledger.Find(session->credential);
  v1::FinishLoginResponse response;
  response.set_version(*version);
  response.mutable_expires_at()->set_seconds(absl::ToUnixSeconds(state.Current()->expires_at));
  response.set_has_refresh_token(!state.refresh->refresh_token.empty());
  const auto& asked = state.record.spec.oauth().scopes();
  if (!scopes.empty() && std::set<std::string>(scopes.begin(), scopes.end()) !=
                             std::set<std::string>(asked.begin(), asked.end())) {
    response.mutable_granted_scopes()->Assign(scopes.begin(), scopes.end());
  }
  Decide(id, std::move(response));
}

void LoginSessions::Decide(const std::string& id, absl::StatusOr<v1::FinishLoginResponse> outcome) {
  Session& session = sessions_.at(id);
  if (!outcome.ok() && session.phase != Phase::kDecided) {
    NoteFailure(session, outcome.status());
    outcome = Named(session.credential, outcome.status());
  }
  if (!session.waiter) {
    session.phase = Phase::kDecided;
    session.outcome = std::move(outcome);
    // Expired while it was being decided: nobody will come any more.
    if (session.expired) sessions_.erase(id);
    return;
  }
  Finished waiter = std::move(session.waiter);
  env_.executor.Cancel(session.expiry);
  sessions_.erase(id);
  waiter(std::move(outcome));
}

void LoginSessions::Expire(const std::string& id) {
  Session& session = sessions_.at(id);
  session.expired = true;
  // What the server may be granting at this moment is not thrown away.
  if (session.phase == Phase::kExchanging) return;
  if (session.phase == Phase::kOpen) NoteFailure(session, LoginExpired());
  End(id, LoginExpired());
}

void LoginSessions::NoteFailure(const Session& session, const absl::Status& why) {
  if (env_.ledger.Find(session.credential) == nullptr) return;
  // What to do about it is for the moment; what it was is for later.
  const std::string message(why.message());
  const std::string reason = base::ReasonOf(why);
  store::Transaction transaction;
  env_.ledger.AddHistory(transaction,
                         {.credential = session.credential,
                          .at = env_.clock.WallNow(),
                          .started_at = session.began_at,
                          .what = "login",
                          .outcome = "failed",
                          .version = 0,
                          .detail = absl::StrCat(reason.empty() ? "LOGIN_FAILED" : reason, ": ",
                                                 message.substr(0, message.find(';')))});
  // Nothing depends on it; the person is told in any case.
  if (const absl::Status lost = env_.ledger.Commit(transaction); !lost.ok()) {
    env_.log.Write(observe::Level::kWarning, "login_not_in_history",
                   {{"credential", session.credential}, {"detail", std::string(lost.message())}});
  }
}

void LoginSessions::End(const std::string& id, const absl::Status& why) {
  Session session = std::move(sessions_.at(id));
  sessions_.erase(id);
  env_.executor.Cancel(session.expiry);
  env_.executor.Cancel(session.poll);
  if (session.waiter) session.waiter(Named(session.credential, why));
}

void LoginSessions::Drop(const std::string& name) {
  for (const auto& [id, session] : sessions_) {
    if (session.credential == name) return End(id, NoSuchLogin());
  }
}

}  // namespace keyturn::lifecycle::oauth

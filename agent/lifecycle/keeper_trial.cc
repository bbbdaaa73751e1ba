// SPDX-License-Identifier: Apache-2.0
// `keyturn test`: the cheapest call that a credential can be tried with, and what its outcome means
// to a person. A token is tried with a GET of the resource's choice, or by asking the authorization
// server about it; a key with its recipe's verify.
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/attachment.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/oauth/token_request.h"

namespace keyturn::lifecycle {
namespace {

using providers::CallResult;
using providers::Outcome;
using Response = v1::TestCredentialResponse;

absl::Status Refuse(absl::string_view why) {
  return base::WithReason(absl::FailedPreconditionError(why), "NOT_POSSIBLE_NOW");
}

struct Meaning {
  const char* outcome;
  std::string detail;
};

// `rejected`: what to do about a credential that the service does not take.
Meaning MeaningOf(int status, const std::string& rejected) {
  if (status >= 200 && status < 300) return {"accepted", "the service accepts it"};
  switch (status) {
    case 401:
      return {"rejected", absl::StrCat("the service does not accept it (any more); ", rejected)};
    case 402:
      return {"limited", "it is alive; the account has no balance"};
    case 403:
      return {"forbidden",
              "it is alive, but not allowed to make this call: a scope or a right is "
              "missing, or the call is the wrong one to try"};
    case 404:
    case 405:
      return {"unknown",
              "the address that was tried leads nowhere, which says nothing about the "
              "credential; choose another one"};
    case 429:
      return {"limited", "it is alive, or was not looked at: the service is asked too often"};
    default:
      break;
  }
  if (status >= 300 && status < 400) {
    return {"unknown",
            "the service sends elsewhere, most likely to a page where people log in; "
            "choose an address of its API"};
  }
  if (status >= 500 || status == 408) {
    return {"transient",
            "the service has trouble of its own; nothing is known about the "
            "credential: try again later"};
  }
  return {"unknown", "the service answered with neither yes nor no"};
}

Response ResponseOf(const absl::StatusOr<int>& tried, const std::string& rejected) {
  Response response;
  if (!tried.ok()) {
    const bool silent = absl::IsUnavailable(tried.status());
    response.set_outcome(silent ? "transient" : "unknown");
    response.set_cause(silent ? "no_reply" : "not_sent");
    response.set_detail(
        absl::StrCat(silent ? "the service gave no answer; nothing is known about the credential: "
                            : "the call could not be made: ",
                     tried.status().message()));
    return response;
  }
  Meaning meaning = MeaningOf(*tried, rejected);
  response.set_outcome(meaning.outcome);
  response.set_http_status(*tried);
  if (*tried < 200 || *tried >= 300) response.set_cause(absl::StrCat("http_", *tried));
  response.set_detail(std::move(meaning.detail));
  return response;
}

Response ResponseOf(const CallResult& result, const std::string& name) {
  const std::string rejected = absl::StrCat("replace it: keyturn rotate ", name);
  Response response;
  response.set_http_status(result.http_status);
  if (result.outcome == Outcome::kOk) {
    response.set_outcome("accepted");
    response.set_detail("the service accepts it");
    return response;
  }
  response.set_cause(result.cause);
  if (result.outcome == Outcome::kRejected) {
    // Which reply means so is the recipe's business, and not always a 401.
    response.set_outcome("rejected");
    response.set_detail(absl::StrCat("the service does not accept it (any more); ", rejected));
    return response;
  }
  if (result.http_status == 0) {
    response.set_outcome(result.outcome == Outcome::kTransient ? "transient" : "unknown");
    response.set_detail("the service gave no answer; nothing is known about the credential");
    return response;
  }
  // A 401 that the recipe does not call a rejection says nothing.
  Meaning meaning = result.http_status == 401 || result.http_status < 300
                        ? Meaning{"unknown",
                                  "the service answered with what no rule of the recipe "
                                  "takes for a result"}
                        : MeaningOf(result.http_status, rejected);
  response.set_outcome(meaning.outcome);
  response.set_detail(std::move(meaning.detail));
  return response;
}

void SetTook(absl::Duration took, Response& response) {
  const timespec ts = absl::ToTimespec(took);
  response.mutable_took()->set_seconds(ts.tv_sec);
  response.mutable_took()->set_nanos(static_cast<int32_t>(ts.tv_nsec));
}

// As consumers are told to send it.
providers::TokenTrial TrialOf(const v1::CredentialSpec& spec, const base::CredentialValue& value) {
  PublishedVersion version;
  version.value = value;
  SetAttachment(spec, version);
  providers::TokenTrial trial;
  trial.url = spec.oauth().test().url();
  trial.access_token = *value.Primary();
  trial.header = version.attach_header;
  trial.header_value = HeaderValue(version.attach_format, *value.Primary());
  if (const auto* key = value.Find("dpop_key"); key != nullptr) trial.dpop_key = *key;
  return trial;
}

}  // namespace

void Keeper::TestCredential(v1::TestCredentialRequest request, Answer<Response> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    const std::string& name = request.name();
    const auto state = Get(name);
    if (!state.ok()) return done(state.status());
    // Answers come from other threads, and the time they took is part of them.
    Answer<Response> timed = [this, started = deps_.clock.BootNow(),
                              done = std::move(done)](absl::StatusOr<Response> response) mutable {
      deps_.executor.Post(
          [this, started, done = std::move(done), response = std::move(response)]() mutable {
            if (response.ok()) SetTook(deps_.clock.BootNow() - started, *response);
            done(std::move(response));
          });
    };
    switch (KindOf((*state)->record.spec)) {
      case v1::OAUTH_TOKEN:
        return TestToken(name, std::move(timed));
      case v1::API_KEY:
        return TestKey(name, std::move(timed));
      default:
        return timed(Refuse(absl::StrCat(
            "\"", name, "\" is a stored value, and nothing says at which service to try it")));
    }
  });
}

void Keeper::TestToken(const std::string& name, Answer<Response> done) {
  const v1::CredentialSpec& spec = ledger_.Find(name)->record.spec;
  if (spec.oauth().test().url().empty() && spec.oauth().introspection_url().empty()) {
    return done(Refuse(absl::StrCat(
        "nothing says how to try \"", name,
        "\": state `test: { url: https://... }`, a GET that changes nothing, in its resource")));
  }
  if (const std::string missing = MissingSecret(spec, ledger_); !missing.empty()) {
    return done(Refuse(absl::StrCat("\"", name, "\" waits for a secret: keyturn put ", missing)));
  }
  ValueOf(name, [this, name,
                 done = std::move(done)](absl::StatusOr<base::CredentialValue> value) mutable {
    const CredentialState* state = ledger_.Find(name);
    if (!value.ok()) return done(value.status());
    if (state == nullptr) return done(absl::AbortedError("the credential was deleted meanwhile"));
    auto server = oauth::ServerConfigFor(ledger_, *state);
    if (!server.ok()) return done(server.status());
    const v1::OAuthSpec& oauth = state->record.spec.oauth();
    const std::string again = absl::StrCat(
        "get another: keyturn refresh ", name, "; if that one is rejected too, the grant is over: ",
        oauth::HasLogin(state->record.spec) ? "keyturn login " : "keyturn show ", name);
    if (!oauth.test().url().empty()) {
      deps_.authorization_server.Try(
          TrialOf(state->record.spec, *value),
          [again, done = std::move(done)](const absl::StatusOr<int>& status) mutable {
            done(ResponseOf(status, again));
          });
      return;
    }
    deps_.authorization_server.Introspect(
        *std::move(server), *value->Primary(),
        [again, done = std::move(done)](
            const absl::StatusOr<providers::IntrospectionReply>& reply) mutable {
          if (!reply.ok()) return done(ResponseOf(reply.status(), again));
          Response response;
          response.set_outcome(reply->active ? "accepted" : "rejected");
          response.set_detail(
              reply->active
                  ? "the authorization server says that it is active"
                  : absl::StrCat("the authorization server says that it is not active; ", again));
          done(std::move(response));
        });
  });
}

void Keeper::TestKey(const std::string& name, Answer<Response> done) {
  const store::VersionRecord* current = ledger_.Find(name)->Current();
  if (current == nullptr) {
    return done(base::WithReason(
        absl::FailedPreconditionError(absl::StrCat("\"", name, "\" has no value yet")),
        "NO_VALUE_YET", {{"credential", name}}));
  }
  const auto provider = ProviderOf(name);
  if (!provider.ok()) return done(provider.status());
  if (!(*provider)->traits().can_verify) {
    return done(Refuse("the recipe has no call that tries a key"));
  }
  (*provider)->Verify(current->value,
                      [name, done = std::move(done)](const CallResult& result) mutable {
                        done(ResponseOf(result, name));
                      });
}

}  // namespace keyturn::lifecycle

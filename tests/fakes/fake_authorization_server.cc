// SPDX-License-Identifier: Apache-2.0
// The server lives in a shared state that tasks hold on to, so that late effects outlive the
// FakeAuthorizationServer object.
#include "tests/fakes/fake_authorization_server.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/base/sha256.h"
#include "tests/fakes/servers_time.h"

namespace keyturn::fakes {

using Kind = TokenFault::Kind;
using providers::TokenOutcome;
using providers::TokenReply;
using providers::TokenRequest;

struct FakeAuthorizationServer::Server : std::enable_shared_from_this<Server> {
  struct Grant {
    std::string refresh_token;
    // Spent ones with the moment of their replacement.
    std::map<std::string, absl::Time> spent;
    bool alive = true;
  };
  struct Access {
    std::string client;
    absl::Time expires;
    bool of_grant = false;
  };
  struct Code {
    std::string client;
    std::string redirect_uri;
    std::string challenge;
  };
  struct DeviceCode {
    std::string client;
    absl::Time expires;
    std::optional<bool> consents;
  };
  struct Call {
    TokenRequest request;
    Done done;
    TokenFault fault;
    base::BootTime sent_at;
    uint64_t generation = 0;
  };

  Server(Options o, base::Clock& c, base::Executor& e) : options(o), clock(c), executor(e) {}

  // To whoever asked, unless that process has died meanwhile.
  template <class Done, class Reply>
  void AnswerLater(Done done, Reply reply, absl::Duration late = absl::ZeroDuration()) {
    executor.After(options.latency * 2 + late, [self = shared_from_this(), asked = generation,
                                                done = std::move(done), reply]() mutable {
      if (asked == self->generation) done(reply);
    });
  }

  bool Accepts(const std::string& token) const {
    const auto found = tokens.find(token);
    if (found == tokens.end()) return false;
    const auto grant = grants.find(found->second.client);
    const bool alive = grant != grants.end() && grant->second.alive;
    return (!found->second.of_grant || alive) && ServersNow(clock) < found->second.expires;
  }

  void End(const std::string& token) {
    tokens.erase(token);
    for (auto& [client, grant] : grants) {
      if (grant.refresh_token == token || grant.spent.count(token) != 0) grant.alive = false;
    }
  }

  static TokenReply Failed(TokenOutcome outcome, const char* cause, int status) {
    TokenReply reply;
    reply.outcome = outcome;
    reply.cause = cause;
    reply.http_status = status;
    return reply;
  }

  void Start(std::shared_ptr<Call> call) {
    ++requests;
    last_request = call->request;
    const int now = ++in_flight[call->request.server.client.id];
    most_in_flight = std::max(most_in_flight, now);
    if (!injected.empty()) {
      call->fault = injected.front();
      injected.pop_front();
    } else if (pick_fault) {
      call->fault = pick_fault();
    }
    call->sent_at = clock.BootNow();
    call->generation = generation;
    const Kind kind = call->fault.kind;
    const absl::Duration late =
        kind == Kind::kLateEffect ? call->fault.late_by : absl::ZeroDuration();
    executor.After(options.latency + late,
                   [self = shared_from_this(), call] { self->Arrive(call); });
    if (kind == Kind::kLoseReply || kind == Kind::kLoseRequest || kind == Kind::kLateEffect) {
      executor.After(options.timeout, [self = shared_from_this(), call] {
        self->Answer(call, Failed(TokenOutcome::kUnknown, "timeout", 0));
      });
    }
  }

  void Arrive(const std::shared_ptr<Call>& call) {
    TokenReply reply;
    switch (call->fault.kind) {
      case Kind::kLoseRequest:
        return;
      case Kind::kLoseReply:
      case Kind::kLateEffect:
        Exchange(call->request);
        return;
      case Kind::kServerError:
        reply = Failed(TokenOutcome::kUnknown, "http_500", 500);
        reply.retry_after = call->fault.retry_after;
        break;
      case Kind::kFailAfter:
        Exchange(call->request);
        reply = Failed(TokenOutcome::kUnknown, "http_500", 500);
        break;
      case Kind::kTransient:
        reply = Failed(TokenOutcome::kTransient, "http_429", 429);
        reply.retry_after = call->fault.retry_after;
        break;
      case Kind::kRefuseClient:
        reply = Failed(TokenOutcome::kClientRefused, "invalid_client", 401);
        break;
      case Kind::kProxyPage:
        reply = Failed(TokenOutcome::kAmbiguous, "http_403", 403);
        break;
      case Kind::kEndedToken:
        reply = Exchange(call->request);
        tokens[std::string(reply.access_token.Reveal())].expires = ServersNow(clock);
        reply.expires_in = absl::ZeroDuration();
        break;
      case Kind::kNone:
        reply = Exchange(call->request);
    }
    if (edit_reply) edit_reply(reply);
    executor.After(options.latency, [self = shared_from_this(), call, reply]() mutable {
      self->Answer(call, std::move(reply));
    });
  }

  void Answer(const std::shared_ptr<Call>& call, TokenReply reply) {
    if (call->generation != generation) return;
    --in_flight[call->request.server.client.id];
    reply.sent_at = call->sent_at;
    call->done(std::move(reply));
  }

  std::string NewToken(const char* kind, const std::string& client) {
    issued.push_back(absl::StrCat(kind, client, "-", issued.size() + 1));
    return issued.back();
  }

  // Whether the code is good: it is spent either way.
  bool TakeCode(const TokenRequest& request) {
    const auto found = codes.find(std::string(request.code.Reveal()));
    if (found == codes.end()) return false;
    const Code code = found->second;
    codes.erase(found);
    base::Sha256 sha;
    sha.Update(request.code_verifier.Reveal());
    const std::string challenge =
        request.code_verifier.empty()
            ? ""
            : absl::WebSafeBase64Escape(absl::HexStringToBytes(sha.HexDigest()));
    return code.client == request.server.client.id && code.redirect_uri == request.redirect_uri &&
           code.challenge == challenge;
  }

  // Granted, once the person has consented.
  TokenReply TakeDeviceCode(const TokenRequest& request) {
    ++polls;
    const auto found = devices.find(std::string(request.device_code.Reveal()));
    if (found == devices.end() || found->second.client != request.server.client.id) {
      return Failed(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
    }
    if (ServersNow(clock) > found->second.expires) {
      return Failed(TokenOutcome::kDenied, "expired_token", 400);
    }
    if (!found->second.consents) {
      TokenReply pending = Failed(TokenOutcome::kPending, "authorization_pending", 400);
      if (std::exchange(slow_down, false)) {
        pending.cause = "slow_down";
        pending.retry_after = absl::Seconds(5);
      }
      return pending;
    }
    const bool consents = *found->second.consents;
    devices.erase(found);
    if (!consents) return Failed(TokenOutcome::kDenied, "access_denied", 400);
    TokenReply granted;
    granted.outcome = TokenOutcome::kGranted;
    return granted;
  }

  void BeginGrant(const std::string& client, TokenReply& reply) {
    Grant grant;
    grant.refresh_token = NewToken("rt-", client);
    if (gives_refresh_tokens) reply.refresh_token = base::Secret(grant.refresh_token);
    grants[client] = grant;
  }

  TokenReply Exchange(const TokenRequest& request) {
    if (!request.subject_token.empty()) {
      last_subject = std::string(request.subject_token.Reveal());
      // Tokens of other servers it takes as they are.
      if (tokens.count(last_subject) != 0 && !Accepts(last_subject))
        return Failed(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
    }
    const bool refresh = request.grant == providers::Grant::kRefreshToken;
    TokenReply reply;
    if (request.grant == providers::Grant::kAuthorizationCode) {
      if (!TakeCode(request)) return Failed(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
      BeginGrant(request.server.client.id, reply);
    } else if (request.grant == providers::Grant::kDeviceCode) {
      TokenReply taken = TakeDeviceCode(request);
      if (taken.outcome != TokenOutcome::kGranted) return taken;
      BeginGrant(request.server.client.id, reply);
    } else if (refresh) {
      const auto found = grants.find(request.server.client.id);
      const std::string token(request.refresh_token.Reveal());
      if (found == grants.end() || !found->second.alive) {
        return Failed(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
      }
      Grant& grant = found->second;
      if (token != grant.refresh_token) {
        const auto spent = grant.spent.find(token);
        if (spent == grant.spent.end()) {
          return Failed(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
        }
        if (ServersNow(clock) > spent->second + options.leeway) {
          // Reuse: the server takes the token for stolen and ends the grant with all it gave.
          grant.alive = false;
          ++replays;
          return Failed(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
        }
      }
      if (options.rotates) {
        grant.spent.try_emplace(grant.refresh_token, ServersNow(clock));
        grant.refresh_token = NewToken("rt-", request.server.client.id);
        reply.refresh_token = base::Secret(grant.refresh_token);
      }
    }
    const std::string access = NewToken("at-", request.server.client.id);
    const bool of_grant = refresh || request.grant == providers::Grant::kAuthorizationCode ||
                          request.grant == providers::Grant::kDeviceCode;
    tokens[access] = {request.server.client.id, ServersNow(clock) + options.lifetime, of_grant};
    reply.outcome = TokenOutcome::kGranted;
    reply.http_status = 200;
    reply.access_token = base::Secret(access);
    reply.expires_in = options.lifetime;
    if (!request.server.dpop_key.empty()) reply.token_type = "DPoP";
    return reply;
  }

  const Options options;
  absl::Status revocation;
  base::Clock& clock;
  base::Executor& executor;
  std::map<std::string, Grant> grants;
  std::map<std::string, Access> tokens;
  std::map<std::string, Code> codes;
  std::map<std::string, DeviceCode> devices;
  bool gives_refresh_tokens = true;
  bool slow_down = false;
  int polls = 0;
  absl::Status discovery;
  int last_code = 0;
  std::deque<TokenFault> injected;
  std::function<TokenFault()> pick_fault;
  std::function<void(TokenReply&)> edit_reply;
  std::function<void(providers::DeviceReply&)> edit_device_reply;
  bool hides_authorization_endpoint = false;
  std::optional<absl::StatusOr<providers::IntrospectionReply>> introspection;
  absl::Duration introspection_late;
  int introspections = 0;
  std::optional<TokenRequest> last_request;
  std::map<std::string, int> in_flight;
  std::vector<std::string> revocations;
  std::optional<absl::StatusOr<int>> next_try;
  std::string last_tried;
  std::string last_tried_key;
  bool names_itself = false;
  int requests = 0;
  int replays = 0;
  int most_in_flight = 0;
  std::vector<std::string> issued;
  std::string last_subject;
  uint64_t generation = 0;
};

FakeAuthorizationServer::FakeAuthorizationServer(Options options, base::Clock& clock,
                                                 base::Executor& executor)
    : server_(std::make_shared<Server>(options, clock, executor)) {}

void FakeAuthorizationServer::Request(TokenRequest request, Done done) {
  auto call = std::make_shared<Server::Call>();
  call->request = std::move(request);
  call->done = std::move(done);
  server_->Start(std::move(call));
}

std::string FakeAuthorizationServer::NewGrant(const std::string& client) {
  Server::Grant grant;
  grant.refresh_token = server_->NewToken("rt-", client);
  server_->grants[client] = grant;
  return grant.refresh_token;
}

void FakeAuthorizationServer::InjectNext(TokenFault fault) { server_->injected.push_back(fault); }

void FakeAuthorizationServer::SetFaults(std::function<TokenFault()> pick) {
  server_->pick_fault = std::move(pick);
}

void FakeAuthorizationServer::ForgetCallers() {
  ++server_->generation;
  server_->in_flight.clear();
}

bool FakeAuthorizationServer::Accepts(const std::string& access_token) const {
  return server_->Accepts(access_token);
}

bool FakeAuthorizationServer::GrantAlive(const std::string& client) const {
  const auto found = server_->grants.find(client);
  return found != server_->grants.end() && found->second.alive;
}

const std::string& FakeAuthorizationServer::last_subject() const { return server_->last_subject; }
int FakeAuthorizationServer::requests() const { return server_->requests; }
const std::vector<std::string>& FakeAuthorizationServer::issued() const { return server_->issued; }
const std::vector<std::string>& FakeAuthorizationServer::revocations() const {
  return server_->revocations;
}
std::string FakeAuthorizationServer::last_tried() const { return server_->last_tried; }
std::string FakeAuthorizationServer::last_tried_key() const { return server_->last_tried_key; }
void FakeAuthorizationServer::AnswerNextTry(absl::StatusOr<int> answer) {
  server_->next_try = std::move(answer);
}
void FakeAuthorizationServer::SetRevocation(absl::Status status) {
  server_->revocation = std::move(status);
}
int FakeAuthorizationServer::replays() const { return server_->replays; }
int FakeAuthorizationServer::most_in_flight() const { return server_->most_in_flight; }
std::string FakeAuthorizationServer::Consent(const std::string& client,
                                             const std::string& redirect_uri,
                                             const std::string& challenge) {
  const std::string code = absl::StrCat("code-", client, "-", ++server_->last_code);
  server_->codes[code] = {client, redirect_uri, challenge};
  return code;
}
void FakeAuthorizationServer::DecideDevices(bool consents) {
  for (auto& [code, device] : server_->devices) device.consents = consents;
}
void FakeAuthorizationServer::SetGivesRefreshTokens(bool gives) {
  server_->gives_refresh_tokens = gives;
}
void FakeAuthorizationServer::SetDiscovery(absl::Status status) {
  server_->discovery = std::move(status);
}
void FakeAuthorizationServer::SetNamesItself(bool names) { server_->names_itself = names; }
int FakeAuthorizationServer::polls() const { return server_->polls; }
void FakeAuthorizationServer::SlowDownOnce() { server_->slow_down = true; }

void FakeAuthorizationServer::HideAuthorizationEndpoint() {
  server_->hides_authorization_endpoint = true;
}
void FakeAuthorizationServer::EditReplies(std::function<void(TokenReply&)> edit) {
  server_->edit_reply = std::move(edit);
}
void FakeAuthorizationServer::EditDeviceReplies(std::function<void(providers::DeviceReply&)> edit) {
  server_->edit_device_reply = std::move(edit);
}
void FakeAuthorizationServer::SetIntrospection(
    std::optional<absl::StatusOr<providers::IntrospectionReply>> answer, absl::Duration late) {
  server_->introspection = std::move(answer);
  server_->introspection_late = late;
}
int FakeAuthorizationServer::introspections() const { return server_->introspections; }
const TokenRequest& FakeAuthorizationServer::last_request() const {
  return server_->last_request.value();
}

void FakeAuthorizationServer::Discover(providers::ServerConfig server,
                                       Answer<providers::Endpoints> done) {
  absl::StatusOr<providers::Endpoints> answer = std::move(server.endpoints);
  if (answer->authorization.empty() && !server_->hides_authorization_endpoint) {
    answer->authorization = answer->issuer + "/authorize";
  }
  answer->names_itself = server_->names_itself;
  if (!server_->discovery.ok()) answer = server_->discovery;
  server_->AnswerLater(std::move(done), answer);
}
void FakeAuthorizationServer::StartDevice(providers::ServerConfig server, providers::DeviceRequest,
                                          Answer<providers::DeviceReply> done) {
  if (!server_->discovery.ok()) {
    absl::StatusOr<providers::DeviceReply> refused = server_->discovery;
    return server_->AnswerLater(std::move(done), refused);
  }
  const std::string code = absl::StrCat("device-", server.client.id, "-", ++server_->last_code);
  providers::DeviceReply reply;
  reply.device_code = base::Secret(code);
  reply.user_code = "WDJB-MJHT";
  reply.verification_uri = "https://crm.example.com/device";
  reply.expires_in = absl::Minutes(5);
  server_->devices[code] = {server.client.id, ServersNow(server_->clock) + reply.expires_in, {}};
  if (server_->edit_device_reply) server_->edit_device_reply(reply);
  server_->AnswerLater(std::move(done), absl::StatusOr<providers::DeviceReply>(reply));
}
void FakeAuthorizationServer::Revoke(providers::ServerConfig, base::Secret token, std::string hint,
                                     absl::AnyInvocable<void(absl::Status)> done) {
  const std::string text(token.Reveal());
  server_->revocations.push_back(absl::StrCat(hint, " ", text));
  if (server_->revocation.ok()) server_->End(text);
  server_->AnswerLater(std::move(done), server_->revocation);
}
void FakeAuthorizationServer::Introspect(providers::ServerConfig, base::Secret token,
                                         Answer<providers::IntrospectionReply> done) {
  ++server_->introspections;
  providers::IntrospectionReply reply;
  const auto found = server_->tokens.find(std::string(token.Reveal()));
  reply.active = server_->Accepts(std::string(token.Reveal()));
  if (reply.active) reply.expires_in = found->second.expires - ServersNow(server_->clock);
  const absl::StatusOr<providers::IntrospectionReply> so = reply;
  server_->AnswerLater(std::move(done), server_->introspection.value_or(so),
                       server_->introspection_late);
}
void FakeAuthorizationServer::Try(providers::TokenTrial trial, Answer<int> done) {
  server_->last_tried = absl::StrCat(trial.header, ": ", trial.header_value.Reveal());
  server_->last_tried_key = std::string(trial.dpop_key.Reveal());
  absl::StatusOr<int> answer =
      server_->Accepts(std::string(trial.access_token.Reveal())) ? 200 : 401;
  if (server_->next_try) answer = *std::exchange(server_->next_try, std::nullopt);
  server_->AnswerLater(std::move(done), answer);
}

}  // namespace keyturn::fakes

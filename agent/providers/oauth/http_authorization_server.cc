// SPDX-License-Identifier: Apache-2.0
// The work lives in a shared core that exchanges hold on to.
#include "agent/providers/oauth/http_authorization_server.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/providers/oauth/client_authentication.h"
#include "agent/providers/oauth/discovery.h"
#include "agent/providers/oauth/dpop_exchange.h"
#include "agent/providers/oauth/endpoint_replies.h"
#include "agent/providers/oauth/request_params.h"
#include "agent/providers/oauth/token_form.h"
#include "agent/providers/oauth/token_reply.h"

namespace keyturn::providers {
namespace {

// Beyond it a reply counts as none; what is tried may be any call of a service.
constexpr size_t kTryReplyBytesMax = 4 * 1024 * 1024;

void SetHeader(net::HttpRequest& http, const std::string& name, base::Secret value) {
  for (auto& header : http.headers) {
    if (absl::EqualsIgnoreCase(header.first, name)) {
      header.second = std::move(value);
      return;
    }
  }
  http.headers.emplace_back(name, std::move(value));
}

// Who an assertion is for. The issuer, where it is known and nothing else is stated: an assertion
// for a URL could be replayed by whoever gets that URL into a configuration.
const std::string& AudienceOf(const ServerConfig& server, const std::string& url) {
  const Endpoints& endpoints = server.endpoints;
  const auto choice = server.quirks.assertion_audience();
  if (choice == v1::OAuthQuirks::ENDPOINT) return url;
  const bool for_issuer = choice != v1::OAuthQuirks::TOKEN_URL && !endpoints.issuer.empty();
  if (for_issuer) return endpoints.issuer;
  return endpoints.token.empty() ? url : endpoints.token;
}

// Whether the token endpoint has to be known, whatever the request is for.
bool NamesTokenUrl(const ServerConfig& server) {
  return server.quirks.assertion_audience() == v1::OAuthQuirks::TOKEN_URL &&
         server.endpoints.token.empty();
}

const std::string& TokenUrl(const TokenRequest& request) {
  const Endpoints& endpoints = request.server.endpoints;
  const bool apart = request.grant == Grant::kRefreshToken && !endpoints.refresh.empty();
  return apart ? endpoints.refresh : endpoints.token;
}

absl::Status StatusOf(DiscoveryOutcome outcome) {
  switch (outcome) {
    case DiscoveryOutcome::kFound:
      return absl::OkStatus();
    case DiscoveryOutcome::kUnavailable:
      return absl::UnavailableError("the server's metadata is not to be had at the moment");
    case DiscoveryOutcome::kNoMetadata:
      return absl::FailedPreconditionError(
          "the issuer publishes no metadata: state the server's URLs");
    case DiscoveryOutcome::kOtherIssuer:
      break;
  }
  return absl::FailedPreconditionError(
      "the server's metadata names another issuer than the one that is stated");
}

// Why no token request could be sent; null: it can.
const char* WhyNot(DiscoveryOutcome outcome) {
  switch (outcome) {
    case DiscoveryOutcome::kFound:
      return nullptr;
    case DiscoveryOutcome::kUnavailable:
      return "discovery";
    case DiscoveryOutcome::kNoMetadata:
      return "no_metadata";
    case DiscoveryOutcome::kOtherIssuer:
      break;
  }
  return "issuer_mismatch";
}

TokenReply NotSent(TokenOutcome outcome, const char* cause, base::Clock& clock) {
  TokenReply reply;
  reply.outcome = outcome;
  reply.cause = cause;
  reply.sent_at = clock.BootNow();
  return reply;
}

}  // namespace

struct HttpAuthorizationServer::Core : std::enable_shared_from_this<Core> {
  Core(net::HttpClient& http, Options o, base::Clock& c, base::Random& r)
      : options(std::move(o)),
        clock(c),
        random(r),
        exchange(std::make_shared<DpopExchange>(http, c, r)),
        discovery(std::make_shared<Discovery>(http, options.egress, options.timeout, c)) {}

  using Resolved = absl::AnyInvocable<void(DiscoveryOutcome, Endpoints)>;
  // The stated endpoints, completed from metadata if `wanted` and there is an issuer to ask. May
  // call `done` at once.
  void Resolve(const ServerConfig& server, bool wanted, Resolved done) {
    Endpoints stated = server.endpoints;
    if (!wanted || stated.issuer.empty()) {
      done(DiscoveryOutcome::kFound, std::move(stated));
      return;
    }
    const std::string issuer = stated.issuer;
    const bool with_certificate = server.client.auth == v1::TLS_CLIENT_AUTH;
    discovery->Get(issuer, [stated = std::move(stated), with_certificate, done = std::move(done)](
                               DiscoveryOutcome outcome, const ServerMetadata& metadata) mutable {
      FillIn(metadata, with_certificate, stated);
      done(outcome, std::move(stated));
    });
  }

  absl::StatusOr<net::HttpRequest> BuildPost(const ServerConfig& server, const std::string& url,
                                             RequestParams params) {
    net::HttpRequest http;
    http.method = "POST";
    http.url = url;
    http.timeout = options.timeout;
    const bool json = server.quirks.body() == v1::OAuthQuirks::JSON;
    http.headers.emplace_back(
        "Content-Type",
        base::Secret(json ? "application/json" : "application/x-www-form-urlencoded"));
    http.headers.emplace_back("Accept", base::Secret("application/json"));
    absl::Status added = AddClientAuthentication(server.client, AudienceOf(server, url),
                                                 clock.WallNow(), random, params, http);
    if (!added.ok()) return added;
    for (const auto& [name, value] : server.quirks.headers()) {
      SetHeader(http, name, base::Secret(value));
    }
    http.body = json ? params.Json() : params.Form();
    return http;
  }

  absl::StatusOr<net::HttpRequest> BuildTokenRequest(const TokenRequest& request) {
    const std::string& url = TokenUrl(request);
    auto params = TokenParams(request, AudienceOf(request.server, url), clock.WallNow(), random);
    if (!params.ok()) return params.status();
    return BuildPost(request.server, url, *std::move(params));
  }

  void SendTokenRequest(TokenRequest request, Done done) {
    auto shared = std::make_shared<const TokenRequest>(std::move(request));
    exchange->Send(
        {.build = [self = shared_from_this(), shared] { return self->BuildTokenRequest(*shared); },
         .key = shared->server.dpop_key,
         .access_token = {},
         .done =
             [self = shared_from_this(), shared,
              done = std::move(done)](absl::StatusOr<net::HttpResult> result) mutable {
               if (!result.ok()) {
                 done(NotSent(TokenOutcome::kClientRefused, "signing_key", self->clock));
                 return;
               }
               TokenQuestion question;
               question.grant = shared->grant;
               question.quirks = shared->server.quirks;
               question.now = self->clock.ToWall(result->sent_at);
               done(ReadTokenReply(*result, question));
             }});
  }

  absl::StatusOr<net::HttpRequest> BuildQuestion(const ServerConfig& server, const std::string& url,
                                                 RequestParams params) {
    auto http = BuildPost(server, url, std::move(params));
    if (absl::IsInvalidArgument(http.status())) {
      return absl::FailedPreconditionError(http.status().message());
    }
    return http;
  }

  // Asks one of the endpoints beside the token endpoint.
  void Ask(ServerConfig server, std::string Endpoints::*endpoint, const char* what,
           RequestParams params, absl::AnyInvocable<void(absl::StatusOr<net::HttpResult>)> done) {
    auto shared = std::make_shared<ServerConfig>(std::move(server));
    Resolve(*shared, (shared->endpoints.*endpoint).empty() || NamesTokenUrl(*shared),
            [self = shared_from_this(), shared, endpoint, what, params = std::move(params),
             done = std::move(done)](DiscoveryOutcome outcome, Endpoints endpoints) mutable {
              absl::Status failed = StatusOf(outcome);
              const std::string url = endpoints.*endpoint;
              if (failed.ok() && url.empty()) {
                failed = absl::UnimplementedError(
                    absl::StrCat("the server has no ", what, " endpoint that is known"));
              }
              if (!failed.ok()) {
                self->exchange->Later(
                    [done = std::move(done), failed]() mutable { done(std::move(failed)); });
                return;
              }
              shared->endpoints = std::move(endpoints);
              self->exchange->Send(
                  {.build = [self, shared, url,
                             params] { return self->BuildQuestion(*shared, url, params); },
                   .key = {},
                   .access_token = {},
                   .done = std::move(done)});
            });
  }

  const Options options;
  base::Clock& clock;
  base::Random& random;
  const std::shared_ptr<DpopExchange> exchange;
  const std::shared_ptr<Discovery> discovery;
};

HttpAuthorizationServer::HttpAuthorizationServer(net::HttpClient& http, Options options,
                                                 base::Clock& clock, base::Random& random)
    : core_(std::make_shared<Core>(http, std::move(options), clock, random)) {}

HttpAuthorizationServer::~HttpAuthorizationServer() = default;

void HttpAuthorizationServer::Request(TokenRequest request, Done done) {
  auto shared = std::make_shared<TokenRequest>(std::move(request));
  core_->Resolve(
      shared->server, TokenUrl(*shared).empty() || NamesTokenUrl(shared->server),
      [core = core_, shared, done = std::move(done)](DiscoveryOutcome outcome,
                                                     Endpoints endpoints) mutable {
        shared->server.endpoints = std::move(endpoints);
        const char* cause = WhyNot(outcome);
        if (cause == nullptr && TokenUrl(*shared).empty()) cause = "no_token_endpoint";
        if (cause == nullptr) {
          core->SendTokenRequest(std::move(*shared), std::move(done));
          return;
        }
        const bool transient = outcome == DiscoveryOutcome::kUnavailable;
        TokenReply reply =
            NotSent(transient ? TokenOutcome::kTransient : TokenOutcome::kClientRefused, cause,
                    core->clock);
        core->exchange->Later([done = std::move(done), reply = std::move(reply)]() mutable {
          done(std::move(reply));
        });
      });
}

void HttpAuthorizationServer::Discover(ServerConfig server, Answer<Endpoints> done) {
  core_->Resolve(
      server, /*wanted=*/true,
      [core = core_, done = std::move(done)](DiscoveryOutcome outcome,
                                             Endpoints endpoints) mutable {
        absl::StatusOr<Endpoints> answer = std::move(endpoints);
        // An issuer without metadata may be stated for its name alone.
        const bool enough = outcome == DiscoveryOutcome::kNoMetadata && !answer->token.empty();
        if (absl::Status failed = StatusOf(outcome); !failed.ok() && !enough) {
          answer = std::move(failed);
        }
        core->exchange->Later([done = std::move(done), answer = std::move(answer)]() mutable {
          done(std::move(answer));
        });
      });
}

void HttpAuthorizationServer::StartDevice(ServerConfig server, DeviceRequest request,
                                          Answer<DeviceReply> done) {
  RequestParams params;
  params.AddIfAny("scope", JoinScopes(request.scopes, server.quirks));
  params.AddIfAny("audience", request.audience);
  for (const std::string& resource : request.resources) params.Add("resource", resource);
  if (server.client.auth == v1::BASIC || server.client.auth == v1::CLIENT_AUTH_UNSPECIFIED) {
    // RFC 8628 section 3.1 wants it in the body unless the client authenticates otherwise, and
    // servers want it in any case.
    params.AddIfAny("client_id", server.client.id);
  }
  v1::OAuthQuirks quirks = server.quirks;
  core_->Ask(std::move(server), &Endpoints::device, "device authorization", std::move(params),
             [core = core_, quirks = std::move(quirks),
              done = std::move(done)](absl::StatusOr<net::HttpResult> result) mutable {
               if (!result.ok()) {
                 done(result.status());
                 return;
               }
               done(ReadDeviceReply(*result, quirks, core->options.egress));
             });
}

void HttpAuthorizationServer::Revoke(ServerConfig server, base::Secret token, std::string hint,
                                     absl::AnyInvocable<void(absl::Status)> done) {
  RequestParams params;
  params.Add("token", token.Reveal());
  params.AddIfAny("token_type_hint", hint);
  v1::OAuthQuirks quirks = server.quirks;
  core_->Ask(std::move(server), &Endpoints::revocation, "revocation", std::move(params),
             [quirks = std::move(quirks),
              done = std::move(done)](absl::StatusOr<net::HttpResult> result) mutable {
               done(result.ok() ? ReadRevocationReply(*result, quirks) : result.status());
             });
}

void HttpAuthorizationServer::Introspect(ServerConfig server, base::Secret token,
                                         Answer<IntrospectionReply> done) {
  RequestParams params;
  params.Add("token", token.Reveal());
  params.Add("token_type_hint", "access_token");
  v1::OAuthQuirks quirks = server.quirks;
  core_->Ask(std::move(server), &Endpoints::introspection, "introspection", std::move(params),
             [core = core_, quirks = std::move(quirks),
              done = std::move(done)](absl::StatusOr<net::HttpResult> result) mutable {
               if (!result.ok()) {
                 done(result.status());
                 return;
               }
               done(ReadIntrospectionReply(*result, quirks, core->clock.ToWall(result->sent_at)));
             });
}

void HttpAuthorizationServer::Try(TokenTrial trial, Answer<int> done) {
  auto build = [url = std::move(trial.url), header = std::move(trial.header),
                value = std::move(trial.header_value),
                timeout = core_->options.timeout]() -> absl::StatusOr<net::HttpRequest> {
    net::HttpRequest http;
    http.url = url;
    http.timeout = timeout;
    http.max_reply_bytes = kTryReplyBytesMax;
    http.headers.emplace_back(header, value);
    return http;
  };
  core_->exchange->Send(
      {.build = std::move(build),
       .key = std::move(trial.dpop_key),
       .access_token = std::move(trial.access_token),
       .done = [done = std::move(done)](absl::StatusOr<net::HttpResult> result) mutable {
         if (!result.ok()) {
           done(absl::FailedPreconditionError("the request could not be signed"));
         } else if (result->delivery != net::Delivery::kAnswered) {
           done(absl::UnavailableError(absl::StrCat("no reply: ", result->cause)));
         } else {
           done(result->reply.status);
         }
       }});
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/http_authorization_server.h"

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/providers/oauth/token_reply.h"

namespace keyturn::providers {
namespace {

// application/x-www-form-urlencoded, as RFC 6749 appendix B asks for.
void AppendEncoded(std::string& out, absl::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '*') {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

void AppendParam(std::string& out, absl::string_view name, absl::string_view value) {
  if (!out.empty()) out += '&';
  AppendEncoded(out, name);
  out += '=';
  AppendEncoded(out, value);
}

// RFC 6749 section 2.3.1: id and secret are form-encoded before they go into Basic.
base::Secret BasicHeader(const TokenRequest& request) {
  std::string pair;
  AppendEncoded(pair, request.server.client.id);
  pair += ':';
  AppendEncoded(pair, request.server.client.secret.Reveal());
  std::string header = absl::StrCat("Basic ", absl::Base64Escape(pair));
  base::Wipe(pair);
  return base::Secret::Take(header);
}

}  // namespace

void HttpAuthorizationServer::Request(TokenRequest request, Done done) {
  net::HttpRequest http;
  http.method = "POST";
  http.url = request.server.endpoints.token;
  http.timeout = timeout_;
  http.headers.emplace_back("Content-Type", base::Secret("application/x-www-form-urlencoded"));
  http.headers.emplace_back("Accept", base::Secret("application/json"));
  std::string body;
  body.reserve(4096);  // growing would leave copies of secrets behind
  const bool refresh = request.grant == Grant::kRefreshToken;
  AppendParam(body, "grant_type", refresh ? "refresh_token" : "client_credentials");
  if (refresh) AppendParam(body, "refresh_token", request.refresh_token.Reveal());
  if (!request.scopes.empty()) AppendParam(body, "scope", absl::StrJoin(request.scopes, " "));
  if (!request.audience.empty()) AppendParam(body, "audience", request.audience);
  for (const auto& [name, value] : request.extra_params) AppendParam(body, name, value);
  switch (request.server.client.auth) {
    default:
      http.headers.emplace_back("Authorization", BasicHeader(request));
      break;
    case v1::POST:
      AppendParam(body, "client_id", request.server.client.id);
      AppendParam(body, "client_secret", request.server.client.secret.Reveal());
      break;
    case v1::NONE:
      AppendParam(body, "client_id", request.server.client.id);
      break;
  }
  http.body = base::Secret::Take(body);
  http_.Send(std::move(http), [done = std::move(done)](const net::HttpResult& result) mutable {
    done(ReadTokenReply(result));
  });
}

void HttpAuthorizationServer::Discover(ServerConfig, Answer<Endpoints> done) {
  done(absl::UnimplementedError(""));
}
void HttpAuthorizationServer::StartDevice(ServerConfig, std::vector<std::string>,
                                          Answer<DeviceReply> done) {
  done(absl::UnimplementedError(""));
}
void HttpAuthorizationServer::Revoke(ServerConfig, base::Secret, std::string,
                                     absl::AnyInvocable<void(absl::Status)> done) {
  done(absl::UnimplementedError(""));
}
void HttpAuthorizationServer::Introspect(ServerConfig, base::Secret,
                                         Answer<IntrospectionReply> done) {
  done(absl::UnimplementedError(""));
}
void HttpAuthorizationServer::Try(ServerConfig, std::string, base::Secret, std::string,
                                  Answer<int> done) {
  done(absl::UnimplementedError(""));
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/http_token_endpoint.h"

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
  AppendEncoded(pair, request.client_id);
  pair += ':';
  AppendEncoded(pair, request.client_secret.Reveal());
  std::string header = absl::StrCat("Basic ", absl::Base64Escape(pair));
  base::Wipe(pair);
  return base::Secret::Take(header);
}

}  // namespace

void HttpTokenEndpoint::Request(TokenRequest request, Done done) {
  net::HttpRequest http;
  http.method = "POST";
  http.url = request.token_url;
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
  switch (request.client_auth) {
    case ClientAuth::kBasic:
      http.headers.emplace_back("Authorization", BasicHeader(request));
      break;
    case ClientAuth::kPost:
      AppendParam(body, "client_id", request.client_id);
      AppendParam(body, "client_secret", request.client_secret.Reveal());
      break;
    case ClientAuth::kNone:
      AppendParam(body, "client_id", request.client_id);
      break;
  }
  http.body = base::Secret::Take(body);
  http_.Send(std::move(http), [done = std::move(done)](const net::HttpResult& result) mutable {
    done(ReadTokenReply(result));
  });
}

}  // namespace keyturn::providers

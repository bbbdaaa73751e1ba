// SPDX-License-Identifier: Apache-2.0
//
// Strict where RFC 6749 is: a parameter given twice, two ways of client authentication at once, or
// a client without credentials is refused, so that an agent's slip shows here and not at a real
// provider. A parameter without a value counts as absent (section 3.2). Pure functions.
#include "tests/sandbox/token_request.h"

#include <map>
#include <optional>
#include <utility>

#include <absl/strings/escaping.h>
#include <absl/strings/match.h>
#include <absl/strings/str_split.h>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

using nlohmann::json;
using Parameters = std::map<std::string, std::string>;

OauthError InvalidRequest(std::string description) {
  return {.status = 400,
          .code = "invalid_request",
          .description = std::move(description),
          .basic_challenge = false};
}

std::variant<Parameters, OauthError> ParseForm(absl::string_view body) {
  Parameters parameters;
  for (const absl::string_view pair : absl::StrSplit(body, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> raw =
        absl::StrSplit(pair, absl::MaxSplits('=', 1));
    std::optional<std::string> name = PercentDecode(raw.first, /*plus_is_space=*/true);
    std::optional<std::string> value = PercentDecode(raw.second, /*plus_is_space=*/true);
    if (!name.has_value() || !value.has_value()) return InvalidRequest("broken percent escape");
    if (!parameters.emplace(*std::move(name), *std::move(value)).second) {
      return InvalidRequest("a parameter is given twice");
    }
  }
  return parameters;
}

std::variant<Parameters, OauthError> ParseJson(const std::string& body) {
  const json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return InvalidRequest("the body is not a JSON object");
  Parameters parameters;
  for (const auto& [name, value] : document.items()) {
    if (!value.is_string()) return InvalidRequest("a parameter is not a string");
    parameters.emplace(name, value.get<std::string>());
  }
  return parameters;
}

std::variant<Parameters, OauthError> ParseParameters(const Request& request) {
  const absl::string_view type = request.Header("content-type");
  if (absl::StartsWithIgnoreCase(type, "application/x-www-form-urlencoded")) {
    return ParseForm(request.body);
  }
  if (absl::StartsWithIgnoreCase(type, "application/json")) return ParseJson(request.body);
  return InvalidRequest("the body must be a form or JSON");
}

// Both halves are form-encoded before they are joined and base64-encoded.
std::optional<std::pair<std::string, std::string>> ParseBasic(const std::string& encoded) {
  std::string joined;
  if (!absl::Base64Unescape(encoded, &joined)) return std::nullopt;
  const size_t colon = joined.find(':');
  if (colon == std::string::npos) return std::nullopt;
  std::optional<std::string> id =
      PercentDecode(absl::string_view(joined).substr(0, colon), /*plus_is_space=*/true);
  std::optional<std::string> secret =
      PercentDecode(absl::string_view(joined).substr(colon + 1), /*plus_is_space=*/true);
  if (!id.has_value() || !secret.has_value()) return std::nullopt;
  return std::make_pair(*std::move(id), *std::move(secret));
}

}  // namespace

std::variant<TokenRequest, OauthError> ParseTokenRequest(const Request& request) {
  std::variant<Parameters, OauthError> parsed = ParseParameters(request);
  if (auto* error = std::get_if<OauthError>(&parsed)) return *std::move(error);
  Parameters& parameters = std::get<Parameters>(parsed);

  TokenRequest token_request;
  token_request.grant_type = parameters["grant_type"];
  token_request.client_id = parameters["client_id"];
  token_request.client_secret = parameters["client_secret"];
  token_request.refresh_token = parameters["refresh_token"];
  token_request.scope = parameters["scope"];

  if (!request.Header("authorization").empty()) {
    const std::optional<std::string> encoded = AuthorizationOf(request, "Basic");
    auto basic = encoded.has_value() ? ParseBasic(*encoded) : std::nullopt;
    if (!basic.has_value()) {
      return OauthError{401, "invalid_client", "not readable as HTTP Basic", true};
    }
    if (!token_request.client_secret.empty()) {
      return InvalidRequest("two ways of client authentication at once");
    }
    if (!token_request.client_id.empty() && token_request.client_id != basic->first) {
      return InvalidRequest("client_id differs from the authenticated client");
    }
    token_request.used_basic = true;
    token_request.client_id = std::move(basic->first);
    token_request.client_secret = std::move(basic->second);
  }
  if (token_request.grant_type.empty()) return InvalidRequest("grant_type is missing");
  return token_request;
}

Reply TokenEndpointReply(int status, const json& body) {
  Reply reply = JsonReply(status, body);
  reply.headers.emplace_back("Cache-Control", "no-store");
  reply.headers.emplace_back("Pragma", "no-cache");
  return reply;
}

Reply ToReply(const OauthError& error) {
  Reply reply = TokenEndpointReply(
      error.status, {{"error", error.code}, {"error_description", error.description}});
  if (error.basic_challenge) {
    reply.headers.emplace_back("WWW-Authenticate", "Basic realm=\"sandbox\"");
  }
  return reply;
}

}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/endpoint_replies.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/base/secret.h"
#include "agent/net/url.h"
#include "agent/providers/oauth/lifetime.h"
#include "agent/providers/oauth/oauth_errors.h"
#include "agent/providers/oauth/reply_body.h"

namespace keyturn::providers {
namespace {

constexpr size_t kUserCodeMax = 64;
constexpr size_t kUrlMax = 2048;

bool IsGood(const net::HttpResult& result) {
  return result.delivery == net::Delivery::kAnswered && result.reply.status >= 200 &&
         result.reply.status < 300;
}

// What anything but a good reply means.
absl::Status Refusal(absl::string_view what, const net::HttpResult& result, const ReplyBody& body,
                     const std::optional<OAuthError>& quirk) {
  if (result.delivery != net::Delivery::kAnswered) {
    return absl::UnavailableError(absl::StrCat("the ", what, " endpoint: ", result.cause));
  }
  const int status = result.reply.status;
  const OAuthError error = quirk ? *quirk : ErrorOf(body.Text("error"), false);
  const std::string said = absl::StrCat("the ", what, " endpoint answered ", status,
                                        *error.code == '\0' ? "" : " ", error.code);
  if (status == 429 || status >= 500 || error.outcome == TokenOutcome::kTransient) {
    absl::Status busy = absl::UnavailableError(said);
    const absl::Duration wait =
        RetryAfterOf(result.reply, body, ServersTime(result.reply, absl::InfiniteFuture()));
    return wait > absl::ZeroDuration() ? base::WithRetry(std::move(busy), wait) : busy;
  }
  if (error.outcome == TokenOutcome::kClientRefused || error.outcome == TokenOutcome::kDenied ||
      status == 401) {
    return absl::PermissionDeniedError(said);
  }
  if (status == 404 || status == 405) return absl::FailedPreconditionError(said);
  if (status == 410) return absl::UnimplementedError(said);
  return absl::UnavailableError(said);
}

absl::Status Unreadable(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("the ", what, " endpoint's reply is unreadable"));
}

// Empty unless it is a URL that a person may be sent to.
std::string PageUrl(const std::string& text, const net::EgressRules& egress) {
  const auto url = net::ParseUrl(text);
  if (text.size() > kUrlMax || !url.ok()) return "";
  return url->scheme == "https" || egress.AllowsHttp(url->host, url->port) ? text : "";
}

// What the standard calls by the first name, and some by the second.
std::string Either(const ReplyBody& body, const char* name, const char* other) {
  std::string text = body.Text(name);
  return text.empty() ? body.Text(other) : text;
}

// `otherwise` where there is none, or none that could be meant: nothing has ended before it began.
absl::Duration LifetimeAt(const ReplyBody& body, const char* pointer, absl::Duration otherwise) {
  const nlohmann::json* stated = body.At(pointer);
  const absl::Duration lifetime =
      stated == nullptr ? absl::InfiniteDuration()
                        : ReadLifetime(*stated, v1::OAuthQuirks::SECONDS, absl::UnixEpoch());
  const bool stated_one = lifetime != absl::InfiniteDuration() && lifetime != absl::ZeroDuration();
  return stated_one ? lifetime : otherwise;
}

}  // namespace

absl::StatusOr<DeviceReply> ReadDeviceReply(const net::HttpResult& result,
                                            const v1::OAuthQuirks& quirks,
                                            const net::EgressRules& egress) {
  const ReplyBody body(result.reply);
  std::string code = body.Text("device_code");
  const auto quirk = QuirkError(body, quirks, false);
  // Some refuse with 200.
  if (!IsGood(result) || quirk || (code.empty() && !body.Text("error").empty())) {
    base::Wipe(code);
    return Refusal("device authorization", result, body, quirk);
  }
  DeviceReply reply;
  if (IsTokenText(code)) reply.device_code = base::Secret::Take(code);
  base::Wipe(code);
  reply.user_code = body.Text("user_code");
  const bool printable = !reply.user_code.empty() && reply.user_code.size() <= kUserCodeMax &&
                         std::all_of(reply.user_code.begin(), reply.user_code.end(),
                                     [](char c) { return c >= 0x20 && c < 0x7f; });
  reply.verification_uri = PageUrl(Either(body, "verification_uri", "verification_url"), egress);
  reply.verification_uri_complete =
      PageUrl(Either(body, "verification_uri_complete", "verification_url_complete"), egress);
  if (reply.device_code.empty() || !printable || reply.verification_uri.empty()) {
    return Unreadable("device authorization");
  }
  reply.expires_in = LifetimeAt(body, "/expires_in", reply.expires_in);
  reply.interval = std::min(LifetimeAt(body, "/interval", reply.interval), reply.expires_in);
  return reply;
}

absl::Status ReadRevocationReply(const net::HttpResult& result, const v1::OAuthQuirks& quirks) {
  const ReplyBody body(result.reply);
  const auto quirk = QuirkError(body, quirks, false);
  const std::string error = body.Text("error");
  if (IsGood(result) && !quirk && error.empty()) return absl::OkStatus();
  // RFC 7009 section 2.2 wants 200 for tokens that are dead already; some say this instead, or in
  // their own words.
  const bool dead =
      quirk ? quirk->outcome == TokenOutcome::kInvalidGrant : error == "invalid_token";
  if (dead && (IsGood(result) || result.reply.status == 400)) return absl::OkStatus();
  if (result.delivery == net::Delivery::kAnswered && error == "unsupported_token_type") {
    return absl::UnimplementedError("the server does not revoke tokens of this type");
  }
  return Refusal("revocation", result, body, quirk);
}

absl::StatusOr<IntrospectionReply> ReadIntrospectionReply(const net::HttpResult& result,
                                                          const v1::OAuthQuirks& quirks,
                                                          absl::Time now) {
  const ReplyBody body(result.reply);
  const nlohmann::json* active = body.At("/active");
  const bool readable = active != nullptr && active->is_boolean();
  const auto quirk = QuirkError(body, quirks, false);
  if (!IsGood(result) || quirk || (!readable && !body.Text("error").empty())) {
    return Refusal("introspection", result, body, quirk);
  }
  if (!readable) return Unreadable("introspection");
  IntrospectionReply reply;
  reply.active = active->get<bool>();
  if (const nlohmann::json* stated = body.At("/exp"); reply.active && stated != nullptr) {
    reply.expires_in =
        ReadLifetime(*stated, v1::OAuthQuirks::UNIX_TIME, ServersTime(result.reply, now));
    // What is alive has not ended: then it says something else, such as that it never ends.
    if (reply.expires_in == absl::ZeroDuration()) reply.expires_in = absl::InfiniteDuration();
  }
  return reply;
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/login_outcome.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"

namespace keyturn::lifecycle::oauth {
namespace {

using providers::TokenOutcome;

// RFC 6749 section 4.1.2.1, RFC 8707 section 2, OpenID Connect Core section 3.1.2.6.
constexpr std::array<absl::string_view, 8> kConfiguration = {
    "invalid_request", "unauthorized_client",       "invalid_target",
    "invalid_scope",   "unsupported_response_type", "request_not_supported",
    "invalid_client",  "registration_not_supported"};
constexpr std::array<absl::string_view, 4> kPerson = {
    "login_required", "interaction_required", "consent_required", "account_selection_required"};

template <size_t kSize>
bool IsOneOf(const std::array<absl::string_view, kSize>& words, absl::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

absl::Status Denied() {
  return base::WithReason(
      absl::PermissionDeniedError("the person or the server denied consent; nothing was changed"),
      "LOGIN_DENIED");
}

absl::Status Refused(absl::string_view why) {
  return base::WithReason(absl::PermissionDeniedError(why), "LOGIN_REFUSED");
}

}  // namespace

absl::Status RefusedInBrowser(absl::string_view error) {
  if (error == "access_denied") return Denied();
  if (error == "server_error" || error == "temporarily_unavailable") {
    return base::WithReason(
        absl::UnavailableError(absl::StrCat("the authorization server has a problem (", error,
                                            "); begin the login again later")),
        "LOGIN_FAILED");
  }
  if (IsOneOf(kPerson, error)) {
    return Refused(absl::StrCat("the server wants the person to do something first (", error,
                                "); an authorization_params entry such as `prompt: none` stands in "
                                "the way"));
  }
  if (IsOneOf(kConfiguration, error)) {
    return Refused(absl::StrCat(
        "the server refused the request (", error,
        "); compare client_id, scopes and the redirect address with what is registered there"));
  }
  return Refused(
      "the server refused the request with an error that no standard knows; the page in "
      "the browser may say more");
}

absl::Status ExchangeFailed(const providers::TokenReply& reply) {
  switch (reply.outcome) {
    case TokenOutcome::kDenied:
      return reply.cause == "expired_token" ? LoginExpired() : Denied();
    case TokenOutcome::kInvalidGrant:
      return Refused(
          "the server does not accept the code: it was used before, is too old, or was "
          "meant for another client; begin the login again");
    case TokenOutcome::kClientRefused:
      return Refused(absl::StrCat("the server refuses the client (", reply.cause,
                                  "); compare client_id, client_secret and client_auth with what "
                                  "is registered there"));
    case TokenOutcome::kUnknown:
      return base::WithReason(
          absl::UnavailableError("nobody knows whether the server got the code, and a code works "
                                 "only once; begin the login again"),
          "LOGIN_FAILED");
    default:
      return base::WithReason(
          absl::UnavailableError(absl::StrCat("the token endpoint gave no tokens (", reply.cause,
                                              "); begin the login again")),
          "LOGIN_FAILED");
  }
}

absl::Status ByDeviceOnly(absl::string_view name) {
  return base::WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "the grant of \"", name, "\" is device_code: keyturn login ", name, " --device")),
      "LOGIN_BY_DEVICE", {{"credential", std::string(name)}});
}

absl::Status NoSuchLogin() {
  return base::WithReason(
      absl::FailedPreconditionError("this login is over: it took longer than 10 minutes, another "
                                    "one of the same credential was begun, or the agent was "
                                    "restarted; begin it again"),
      "NO_SUCH_LOGIN");
}

absl::Status LoginExpired() {
  return base::WithReason(
      absl::DeadlineExceededError("nobody consented in time; begin the login again"),
      "LOGIN_EXPIRED");
}

absl::Status WrongRedirect(absl::string_view why) {
  return base::WithReason(absl::InvalidArgumentError(why), "LOGIN_MISMATCH");
}

}  // namespace keyturn::lifecycle::oauth

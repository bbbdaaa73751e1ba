// SPDX-License-Identifier: Apache-2.0
// What a login that failed tells the person: what it was, and what they can do.
#include "agent/lifecycle/oauth/login_outcome.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "agent/base/error.h"

namespace keyturn::lifecycle::oauth {
namespace {

using providers::TokenOutcome;

struct Case {
  std::string said;
  absl::StatusCode code;
  std::string reason;
  std::string advice;
};

void Expect(const absl::Status& status, const Case& c) {
  EXPECT_EQ(status.code(), c.code) << c.said;
  EXPECT_EQ(base::ReasonOf(status), c.reason) << c.said;
  EXPECT_TRUE(absl::StrContains(status.message(), c.advice)) << c.said << ": " << status;
}

TEST(LoginOutcome, EveryErrorThatABrowserBringsBack) {
  const auto denied = absl::StatusCode::kPermissionDenied;
  const auto down = absl::StatusCode::kUnavailable;
  for (const Case& c : {
           Case{"access_denied", denied, "LOGIN_DENIED", "nothing was changed"},
           Case{"server_error", down, "LOGIN_FAILED", "later"},
           Case{"temporarily_unavailable", down, "LOGIN_FAILED", "(temporarily_unavailable)"},
           Case{"login_required", denied, "LOGIN_REFUSED", "prompt: none"},
           Case{"interaction_required", denied, "LOGIN_REFUSED", "prompt: none"},
           Case{"consent_required", denied, "LOGIN_REFUSED", "prompt: none"},
           Case{"account_selection_required", denied, "LOGIN_REFUSED", "prompt: none"},
           Case{"invalid_request", denied, "LOGIN_REFUSED", "(invalid_request); compare client_id"},
           Case{"unauthorized_client", denied, "LOGIN_REFUSED", "compare client_id"},
           Case{"invalid_target", denied, "LOGIN_REFUSED", "compare client_id"},
           Case{"invalid_scope", denied, "LOGIN_REFUSED", "scopes"},
           Case{"unsupported_response_type", denied, "LOGIN_REFUSED", "compare client_id"},
           Case{"request_not_supported", denied, "LOGIN_REFUSED", "compare client_id"},
           Case{"invalid_client", denied, "LOGIN_REFUSED", "compare client_id"},
           Case{"registration_not_supported", denied, "LOGIN_REFUSED", "compare client_id"},
           Case{"pay_first", denied, "LOGIN_REFUSED", "no standard knows"},
       }) {
    Expect(RefusedInBrowser(c.said), c);
    // What a page may have made up is not repeated.
    EXPECT_FALSE(absl::StrContains(RefusedInBrowser(c.said).message(), "pay_first"));
  }
}

TEST(LoginOutcome, EveryWayInWhichATokenRequestBringsNothing) {
  const auto of = [](TokenOutcome outcome, const char* cause) {
    providers::TokenReply reply;
    reply.outcome = outcome;
    reply.cause = cause;
    return ExchangeFailed(reply);
  };
  const auto refused = absl::StatusCode::kPermissionDenied;
  const auto failed = absl::StatusCode::kUnavailable;
  Expect(of(TokenOutcome::kDenied, "access_denied"), {"", refused, "LOGIN_DENIED", "denied"});
  Expect(of(TokenOutcome::kDenied, "expired_token"),
         {"", absl::StatusCode::kDeadlineExceeded, "LOGIN_EXPIRED", "begin the login again"});
  Expect(of(TokenOutcome::kInvalidGrant, "invalid_grant"),
         {"", refused, "LOGIN_REFUSED", "does not accept the code"});
  Expect(of(TokenOutcome::kClientRefused, "invalid_client"),
         {"", refused, "LOGIN_REFUSED", "(invalid_client); compare client_id, client_secret"});
  Expect(of(TokenOutcome::kUnknown, "timeout"), {"", failed, "LOGIN_FAILED", "works only once"});
  for (const TokenOutcome outcome :
       {TokenOutcome::kTransient, TokenOutcome::kAmbiguous, TokenOutcome::kPending}) {
    Expect(of(outcome, "http_503"), {"", failed, "LOGIN_FAILED", "(http_503)"});
  }
}

TEST(LoginOutcome, ADevicesLoginIsNamedWithItsCommand) {
  Expect(ByDeviceOnly("crm/token"), {"", absl::StatusCode::kFailedPrecondition, "LOGIN_BY_DEVICE",
                                     "keyturn login crm/token --device"});
}

}  // namespace
}  // namespace keyturn::lifecycle::oauth

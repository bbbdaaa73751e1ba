// SPDX-License-Identifier: Apache-2.0
// Logins that something comes in the way of: another login, an end of patience, a credential that
// is changed or deleted, a store without room, a server that is slow or asks for patience.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/oauth/login_sessions.h"
#include "agent/providers/proof_key.h"
#include "tests/fakes/browser_address.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;
using fakes::QueryParam;
using fakes::TokenFault;
using Kind = fakes::TokenFault::Kind;

using fakes::kRedirectUri;

template <class T>
using Answer = std::shared_ptr<std::optional<absl::StatusOr<T>>>;
using Finishing = Answer<v1::FinishLoginResponse>;

class InterruptedLoginTest : public testing::Test {
 protected:
  explicit InterruptedLoginTest(KeeperHouse::Options options = {}) : house_(std::move(options)) {}
  void Use(const std::string& more, const std::string& others = "") {
    const absl::Status applied = house_.Apply(absl::StrCat(
        "credentials:\n", others, "  t:\n    oauth: { token_url: https://h/token, client_id: app, ",
        more, " }\n"));
    ASSERT_TRUE(applied.ok()) << applied;
    house_.Advance(absl::Seconds(1));
  }
  void UseBrowser(const std::string& more = "") {
    Use(
        absl::StrCat("client_auth: none, grant: authorization_code, "
                     "authorization_url: https://h/a",
                     more));
  }
  void UseDevice() { Use("client_auth: none, grant: device_code, device_url: https://h/d"); }
  Answer<v1::StartLoginResponse> Starting(const std::string& uri = kRedirectUri) {
    v1::StartLoginRequest request;
    request.set_name("t");
    request.set_redirect_uri(uri);
    auto answer = std::make_shared<std::optional<absl::StatusOr<v1::StartLoginResponse>>>();
    house_.keeper().StartLogin(
        request, [answer](absl::StatusOr<v1::StartLoginResponse> s) { *answer = std::move(s); });
    house_.Advance(absl::ZeroDuration());
    return answer;
  }
  v1::StartLoginResponse Start(const std::string& uri = kRedirectUri) {
    const auto answer = Starting(uri);
    house_.AdvanceUntil([&] { return answer->has_value(); }, absl::Minutes(1));
    EXPECT_TRUE(answer->has_value() && (**answer).ok());
    return answer->has_value() && (**answer).ok() ? ***answer : v1::StartLoginResponse();
  }
  // In a browser, after consent; on another device without an address.
  Finishing Finish(const v1::StartLoginResponse& started) {
    const std::string& url = started.authorization_url();
    return FinishAt(started.login_id(),
                    url.empty()
                        ? ""
                        : absl::StrCat(kRedirectUri, "?code=",
                                       house_.endpoint.Consent("app", kRedirectUri,
                                                               QueryParam(url, "code_challenge")),
                                       "&state=", QueryParam(url, "state")));
  }
  Finishing FinishAt(const std::string& id, const std::string& address) {
    v1::FinishLoginRequest request;
    request.set_name("t");
    request.set_login_id(id);
    request.set_redirected_to(address);
    auto answer = std::make_shared<std::optional<absl::StatusOr<v1::FinishLoginResponse>>>();
    house_.keeper().FinishLogin(
        request, [answer](absl::StatusOr<v1::FinishLoginResponse> f) { *answer = std::move(f); });
    house_.Advance(absl::ZeroDuration());
    return answer;
  }
  absl::Status Outcome(const Finishing& answer, absl::Duration within = absl::Minutes(2)) {
    house_.AdvanceUntil([&] { return answer->has_value(); }, within);
    return answer->has_value() ? (**answer).status() : absl::UnknownError("no answer");
  }
  std::string Reason(const Finishing& answer) { return base::ReasonOf(Outcome(answer)); }
  std::string Now() { return house_.Published("t"); }

  KeeperHouse house_;
};

TEST_F(InterruptedLoginTest, TheSecondWhoWaitsForALoginTakesTheFirstsPlace) {
  UseBrowser();
  const auto browser = Start();
  const Finishing first = Finish(browser);
  EXPECT_FALSE(first->has_value());
  const Finishing second = Finish(browser);  // the code is on its way already
  EXPECT_TRUE(absl::IsAborted(Outcome(first)));
  EXPECT_TRUE(Outcome(second).ok()) << Outcome(second);
  EXPECT_EQ(house_.endpoint.requests(), 1) << "a code works once";
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(InterruptedLoginTest, WhatANewLoginReplacedBringsNothing) {
  UseBrowser();
  const Finishing old = Finish(Start());
  (void)Start();  // while the code of the old one is being exchanged
  EXPECT_EQ(Reason(old), "NO_SUCH_LOGIN");
  house_.Advance(absl::Minutes(1));
  EXPECT_EQ(house_.endpoint.requests(), 1);
  EXPECT_EQ(Now(), "");
}

TEST_F(InterruptedLoginTest, ANewLoginEndsOneThatIsStillStarting) {
  Use("issuer: https://h, client_auth: none, grant: authorization_code");
  for (const char* uri : {kRedirectUri, ""}) {
    const auto old = Starting(uri);
    EXPECT_FALSE(old->has_value());
    const auto fresh = Start(uri);
    ASSERT_TRUE(old->has_value());
    EXPECT_EQ(base::ReasonOf((**old).status()), "NO_SUCH_LOGIN");
    house_.endpoint.DecideDevices(true);
    EXPECT_TRUE(Outcome(Finish(fresh)).ok());
  }
}

TEST_F(InterruptedLoginTest, ACredentialThatIsDeletedWhileTheServerIsAskedEndsTheLogin) {
  Use("issuer: https://h, client_auth: none, grant: authorization_code");
  const auto starting = Starting();
  ASSERT_TRUE(house_.Delete("credential", "t").ok());
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(starting->has_value());
  EXPECT_EQ(base::ReasonOf((**starting).status()), "NO_SUCH_LOGIN");
}

TEST_F(InterruptedLoginTest, ACredentialThatIsDeletedBeforeConsentNeedsANewLogin) {
  UseBrowser();
  const auto started = Start();
  ASSERT_TRUE(house_.Delete("credential", "t").ok());
  EXPECT_EQ(Reason(Finish(started)), "NO_SUCH_LOGIN");
  EXPECT_EQ(house_.endpoint.requests(), 0);
}

TEST_F(InterruptedLoginTest, ACredentialThatIsDeletedDuringTheExchangeStaysDeleted) {
  UseBrowser();
  const Finishing answer = Finish(Start());
  ASSERT_TRUE(house_.Delete("credential", "t").ok());
  EXPECT_EQ(Reason(answer), "NO_SUCH_LOGIN") << Outcome(answer);
  house_.Advance(absl::Minutes(20));
  EXPECT_EQ(house_.sink.versions.count("t"), 0u);
}

TEST_F(InterruptedLoginTest, NewTokensThatCannotBeStoredYetBelongToNobodyElse) {
  UseBrowser();
  const Finishing old = Finish(Start());
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Seconds(2));
  EXPECT_FALSE(old->has_value());
  EXPECT_GE(house_.log.Failures("STORE_FULL"), 1);
  const auto fresh = Start();
  EXPECT_EQ(Reason(old), "NO_SUCH_LOGIN");
  house_.store.faults().FailAllCommits(std::nullopt);
  // A person has consented: their tokens are kept, and the login that goes on brings newer ones.
  house_.Advance(absl::Seconds(2));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.log.Resolved("STORE_FULL"), 1);
  const std::string first = Now();
  EXPECT_TRUE(Outcome(Finish(fresh)).ok());
  EXPECT_NE(Now(), first);
}

TEST_F(InterruptedLoginTest, WhatIsPutWhileTheStoreIsFullIsNotReplacedByAnOlderLogin) {
  UseBrowser();
  const Finishing old = Finish(Start());
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Seconds(2));
  house_.store.faults().FailAllCommits(std::nullopt);
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
  house_.Advance(absl::Milliseconds(500));
  const std::string put = Now();
  EXPECT_TRUE(house_.endpoint.Accepts(put));
  EXPECT_TRUE(absl::IsAborted(Outcome(old)));
  house_.Advance(absl::Seconds(10));
  EXPECT_EQ(Now(), put);
}

TEST_F(InterruptedLoginTest, TokensOfAnotherServerAreNotStoredUnderNewTerms) {
  UseBrowser();
  const Finishing old = Finish(Start());
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Seconds(2));
  house_.store.faults().FailAllCommits(std::nullopt);
  ASSERT_TRUE(house_
                  .Apply("credentials:\n  t:\n    oauth: { token_url: https://other/token, "
                         "client_id: app, client_auth: none, grant: authorization_code, "
                         "authorization_url: https://other/a }\n")
                  .ok());
  EXPECT_TRUE(absl::IsAborted(Outcome(old)));
  house_.Advance(absl::Seconds(10));
  EXPECT_EQ(Now(), "");
}

TEST_F(InterruptedLoginTest, ADeviceIsAskedAtItsIntervalWhateverComesWithPendingReplies) {
  UseDevice();
  house_.endpoint.EditReplies([](providers::TokenReply& reply) {
    reply.outcome = providers::TokenOutcome::kPending;
    reply.cause = "authorization_pending";
    reply.retry_after = absl::Seconds(5);
  });
  const auto started = Start("");
  (void)Finish(started);
  house_.Advance(absl::Minutes(5));
  EXPECT_GE(house_.endpoint.polls(), 50);
}

TEST_F(InterruptedLoginTest, ABrokenStoreIsToldApartFromAFullOne) {
  UseBrowser();
  const Finishing answer = Finish(Start());
  house_.store.faults().FailAllCommits(CommitFault::kBrokenDisk);
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Count({"STORE_FULL", "store_error"}), 1);
  house_.store.faults().FailAllCommits(std::nullopt);
  EXPECT_TRUE(Outcome(answer).ok());
}

TEST_F(InterruptedLoginTest, ASecretWithoutTheFieldIsMissedAtTheStart) {
  Use("client_secret: { credential: s, field: part }, grant: authorization_code, "
      "authorization_url: https://h/a",
      "  s: { static: {} }\n");
  ASSERT_TRUE(house_.Put("s", "whole").ok());
  const auto starting = Starting();
  ASSERT_TRUE(starting->has_value());
  EXPECT_EQ(base::ReasonOf((**starting).status()), "NO_VALUE_YET");
  EXPECT_TRUE(absl::StrContains((**starting).status().message(), "keyturn put s"));
}

TEST_F(InterruptedLoginTest, ASecretThatLostItsFieldMeanwhileIsMissedBeforeAnythingIsSent) {
  Use("client_secret: { credential: s, field: part }, grant: authorization_code, "
      "authorization_url: https://h/a",
      "  s: { static: {} }\n");
  v1::PutRequest put;
  put.set_name("s");
  v1::Field* field = put.add_fields();
  field->set_name("part");
  field->set_value("sesame");
  house_.keeper().Put(put, [](const auto& r) { EXPECT_TRUE(r.ok()) << r.status(); });
  const auto started = Start();
  ASSERT_TRUE(house_.Put("s", "whole").ok());
  const Finishing answer = Finish(started);
  EXPECT_EQ(Reason(answer), "NO_VALUE_YET");
  EXPECT_TRUE(absl::StrContains(Outcome(answer).message(), "keyturn put s"));
  EXPECT_EQ(house_.endpoint.requests(), 0);
}

TEST_F(InterruptedLoginTest, AServerWithoutAnAuthorizationEndpointSaysWhatToState) {
  Use("issuer: https://h, client_auth: none, grant: authorization_code");
  house_.endpoint.HideAuthorizationEndpoint();
  const auto starting = Starting();
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(starting->has_value());
  EXPECT_EQ(base::ReasonOf((**starting).status()), "LOGIN_FAILED");
  EXPECT_TRUE(absl::StrContains((**starting).status().message(), "state authorization_url"));
}

TEST_F(InterruptedLoginTest, AReasonThatIsKnownIsKept) {
  Use("issuer: https://h, client_auth: none, grant: authorization_code");
  house_.endpoint.SetDiscovery(
      base::WithReason(absl::FailedPreconditionError("another issuer"), "LOGIN_MISMATCH"));
  const auto starting = Starting();
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(starting->has_value());
  EXPECT_EQ(base::ReasonOf((**starting).status()), "LOGIN_MISMATCH");
}

TEST_F(InterruptedLoginTest, ABusyServerIsAskedThreeTimesAndNotAfterTenSeconds) {
  UseBrowser();
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kTransient, {}, absl::Seconds(3)}; });
  EXPECT_EQ(Reason(Finish(Start())), "LOGIN_FAILED");
  EXPECT_EQ(house_.endpoint.requests(), 3);
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kTransient, {}, absl::Seconds(11)}; });
  EXPECT_EQ(Reason(Finish(Start())), "LOGIN_FAILED");
  EXPECT_EQ(house_.endpoint.requests(), 4) << "the code will not live that long";
}

TEST_F(InterruptedLoginTest, WithoutPkceNoChallengeAndNoVerifierIsSent) {
  UseBrowser(", quirks: { no_pkce: true }");
  const auto started = Start();
  EXPECT_EQ(QueryParam(started.authorization_url(), "code_challenge"), "");
  EXPECT_EQ(QueryParam(started.authorization_url(), "code_challenge_method"), "");
  EXPECT_TRUE(Outcome(Finish(started)).ok());
  EXPECT_TRUE(house_.endpoint.last_request().code_verifier.empty());
}

TEST_F(InterruptedLoginTest, ALoginBindsTheCodeAndTheTokensToOneKeyThatIsKept) {
  UseBrowser(", dpop: true");
  house_.endpoint.EditReplies([](providers::TokenReply& reply) { reply.token_type = "DPoP"; });
  const auto started = Start();
  EXPECT_TRUE(Outcome(Finish(started)).ok());
  const base::Secret key = house_.endpoint.last_request().server.dpop_key;
  EXPECT_EQ(QueryParam(started.authorization_url(), "dpop_jkt"),
            providers::ProofKeyThumbprint(key).value());
  ASSERT_NE(house_.sink.versions.at("t").value.Find("dpop_key"), nullptr);
  EXPECT_EQ(*house_.sink.versions.at("t").value.Find("dpop_key"), key);
  house_.Advance(absl::Hours(1));  // refreshed with it
  EXPECT_EQ(house_.endpoint.last_request().grant, providers::Grant::kRefreshToken);
  EXPECT_EQ(house_.endpoint.last_request().server.dpop_key, key);
  (void)Start();  // and the next consent is for the same one
  EXPECT_EQ(QueryParam(Start().authorization_url(), "dpop_jkt"),
            QueryParam(started.authorization_url(), "dpop_jkt"));
}

TEST_F(InterruptedLoginTest, OtherScopesThanThoseAskedForAreTold) {
  UseBrowser(", scopes: [read, write]");
  const auto finish = [&](std::vector<std::string> scopes) {
    house_.endpoint.EditReplies([scopes](providers::TokenReply& reply) { reply.scopes = scopes; });
    const Finishing answer = Finish(Start());
    EXPECT_TRUE(Outcome(answer).ok());
    return (**answer)->granted_scopes_size();
  };
  EXPECT_EQ(finish({"read"}), 1);
  EXPECT_EQ(finish({"write", "read"}), 0) << "the order says nothing";
  EXPECT_EQ(finish({}), 0);
}

TEST_F(InterruptedLoginTest, TheRefreshTokenOfAnEarlierConsentDoesNotOutliveIt) {
  UseBrowser();
  EXPECT_TRUE(Outcome(Finish(Start())).ok());
  house_.endpoint.SetGivesRefreshTokens(false);
  const Finishing second = Finish(Start());
  EXPECT_TRUE(Outcome(second).ok());
  EXPECT_FALSE((**second)->has_refresh_token());
  const int requests = house_.endpoint.requests();
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.endpoint.requests(), requests) << "the old one may be another person's";
  EXPECT_EQ(house_.log.Count({"\"event\":\"failure\"", "NEEDS_CONSENT"}), 2)
      << "before the first login and after the second";
}

TEST_F(InterruptedLoginTest, WhatTheServerSaysOfTheConsentsEndIsShown) {
  UseBrowser();
  house_.endpoint.EditReplies(
      [](providers::TokenReply& reply) { reply.refresh_expires_in = absl::Hours(24 * 60); });
  EXPECT_TRUE(Outcome(Finish(Start())).ok());
  EXPECT_EQ(house_.Describe("t")->summary().consent_until().seconds(),
            absl::ToUnixSeconds(house_.clock.WallNow() + absl::Hours(24 * 60)));
}

TEST_F(InterruptedLoginTest, WithoutAnIssuerAnyIssWillDo) {
  UseBrowser();
  const auto started = Start();
  EXPECT_TRUE(
      Outcome(FinishAt(started.login_id(),
                       absl::StrCat(kRedirectUri, "?code=",
                                    house_.endpoint.Consent(
                                        "app", kRedirectUri,
                                        QueryParam(started.authorization_url(), "code_challenge")),
                                    "&iss=https%3A%2F%2Fany&state=",
                                    QueryParam(started.authorization_url(), "state"))))
          .ok());
}

TEST_F(InterruptedLoginTest, ADevicesPatienceIsTheServers) {
  UseDevice();
  house_.endpoint.EditDeviceReplies([](providers::DeviceReply& reply) {
    reply.interval = absl::Minutes(2);
    reply.expires_in = absl::Hours(1);
  });
  house_.endpoint.EditReplies([](providers::TokenReply& reply) {
    reply.outcome = providers::TokenOutcome::kPending;  // for ever
  });
  const auto started = Start("");
  EXPECT_EQ(started.expires_at().seconds(),
            absl::ToUnixSeconds(house_.clock.WallNow() + absl::Minutes(10)))
      << "ten minutes at most";
  const Finishing answer = Finish(started);
  house_.Advance(absl::Seconds(119));
  EXPECT_EQ(house_.endpoint.polls(), 0) << "the interval is the server's, however long";
  house_.endpoint.SlowDownOnce();
  house_.Advance(absl::Seconds(2));
  EXPECT_EQ(house_.endpoint.polls(), 1);
  house_.Advance(absl::Seconds(120));
  EXPECT_EQ(house_.endpoint.polls(), 1) << "it said to slow down";
  house_.Advance(absl::Seconds(10));
  EXPECT_EQ(house_.endpoint.polls(), 2);
  EXPECT_FALSE(answer->has_value());
  EXPECT_EQ(base::ReasonOf(Outcome(answer, absl::Minutes(10))), "LOGIN_EXPIRED");
  const int polls = house_.endpoint.polls();
  house_.Advance(absl::Minutes(5));
  EXPECT_EQ(house_.endpoint.polls(), polls) << "it is over";
}

TEST_F(InterruptedLoginTest, ADeviceIsNotAskedMoreThanOnceASecond) {
  UseDevice();
  house_.endpoint.EditDeviceReplies(
      [](providers::DeviceReply& reply) { reply.interval = absl::ZeroDuration(); });
  (void)Start("");
  house_.Advance(absl::Milliseconds(5500));
  EXPECT_LE(house_.endpoint.polls(), 5);
  EXPECT_GE(house_.endpoint.polls(), 4);
}

TEST_F(InterruptedLoginTest, ARefusedClientEndsADevicesLogin) {
  UseDevice();
  const Finishing answer = Finish(Start(""));
  house_.endpoint.InjectNext({Kind::kRefuseClient, {}, {}});
  EXPECT_EQ(Reason(answer), "LOGIN_REFUSED");
  EXPECT_EQ(house_.endpoint.requests(), 1);
}

TEST_F(InterruptedLoginTest, ALostReplyToADevicesPollIsAskedForAgainMoreSlowly) {
  UseDevice();
  const Finishing answer = Finish(Start(""));
  for (int i = 0; i < 3; ++i) house_.endpoint.InjectNext({Kind::kServerError, {}, {}});
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Seconds(9));
  EXPECT_EQ(house_.endpoint.requests(), 1) << "never faster than told";
  EXPECT_TRUE(Outcome(answer).ok());
}

TEST_F(InterruptedLoginTest, AnOutcomeThatNobodyAsksForIsForgottenInTime) {
  UseDevice();
  const auto started = Start("");
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Minutes(11));
  EXPECT_TRUE(house_.endpoint.Accepts(Now())) << "the person did consent";
  EXPECT_EQ(Reason(Finish(started)), "NO_SUCH_LOGIN");
}

// A server that is slow: the end of patience comes while it is being asked.
class SlowServerTest : public InterruptedLoginTest {
 protected:
  static KeeperHouse::Options Slow() {
    KeeperHouse::Options options;
    options.endpoint.latency = absl::Seconds(1);
    return options;
  }
  SlowServerTest() : InterruptedLoginTest(Slow()) {}
  // To the poll that is under way when the device code ends.
  v1::StartLoginResponse ToTheLastPoll(Finishing* answer) {
    UseDevice();
    house_.endpoint.EditDeviceReplies(
        [](providers::DeviceReply& reply) { reply.expires_in = absl::Seconds(27); });
    const auto started = Start("");
    if (answer != nullptr) *answer = Finish(started);
    house_.AdvanceUntil([&] { return house_.endpoint.requests() == 4; }, absl::Minutes(1));
    return started;
  }
};

TEST_F(SlowServerTest, WhatIsGrantedAtTheLastMomentCounts) {
  Finishing answer;
  ToTheLastPoll(&answer);
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Milliseconds(1500));
  EXPECT_FALSE(answer->has_value()) << "given up while the server is granting";
  EXPECT_TRUE(Outcome(answer).ok()) << Outcome(answer);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(SlowServerTest, WhatIsGrantedAtTheLastMomentCountsThoughNobodyWaits) {
  const auto started = ToTheLastPoll(nullptr);
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Seconds(3));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(Reason(Finish(started)), "NO_SUCH_LOGIN");
}

TEST_F(SlowServerTest, AfterTheLastPollItIsOver) {
  Finishing answer;
  ToTheLastPoll(&answer);
  EXPECT_EQ(Reason(answer), "LOGIN_EXPIRED");
  house_.Advance(absl::Minutes(1));
  EXPECT_EQ(house_.endpoint.polls(), 4);
}

}  // namespace
}  // namespace keyturn::lifecycle

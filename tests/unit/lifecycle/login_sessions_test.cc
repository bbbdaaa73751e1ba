// SPDX-License-Identifier: Apache-2.0
// Logins within their Keeper, against a server that gives codes to those who consent.
#include "agent/lifecycle/oauth/login_sessions.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/browser_address.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;
using fakes::QueryParam;
using fakes::TokenFault;

using fakes::kRedirectUri;
using Started = absl::StatusOr<v1::StartLoginResponse>;
using Finished = absl::StatusOr<v1::FinishLoginResponse>;

std::string Yaml(const std::string& grant, const std::string& more = "") {
  return absl::StrCat(
      "credentials:\n  crm/token:\n    oauth:\n      issuer: https://crm.example.com\n"
      "      token_url: https://crm.example.com/token\n"
      "      client_id: app\n      client_auth: none\n      grant: ",
      grant, "\n", more);
}

class LoginTest : public testing::Test {
 protected:
  void Use(const std::string& grant, const std::string& more = "") {
    const absl::Status applied = house_.Apply(Yaml(grant, more));
    ASSERT_TRUE(applied.ok()) << applied;
    house_.Advance(absl::Seconds(1));
  }
  Started Start(const std::string& uri = kRedirectUri, const std::string& name = "crm/token") {
    v1::StartLoginRequest request;
    request.set_name(name);
    request.set_redirect_uri(uri);
    auto answer = std::make_shared<std::optional<Started>>();
    house_.keeper().StartLogin(request, [answer](Started s) { *answer = std::move(s); });
    house_.AdvanceUntil([&] { return answer->has_value(); }, absl::Minutes(1));
    if (!answer->has_value()) return absl::UnknownError("no answer");
    return **answer;
  }
  // Fills `answer` when it comes.
  void Finish(const std::string& id, const std::string& address,
              std::shared_ptr<std::optional<Finished>> answer) {
    v1::FinishLoginRequest request;
    request.set_name("crm/token");
    request.set_login_id(id);
    request.set_redirected_to(address);
    house_.keeper().FinishLogin(request, [answer](Finished f) { *answer = std::move(f); });
    house_.Advance(absl::ZeroDuration());
  }
  Finished FinishNow(const std::string& id, const std::string& address) {
    auto answer = std::make_shared<std::optional<Finished>>();
    Finish(id, address, answer);
    house_.AdvanceUntil([&] { return answer->has_value(); }, absl::Minutes(2));
    if (!answer->has_value()) return absl::UnknownError("no answer");
    return **answer;
  }
  // Where the browser goes after consent.
  std::string Consent(const v1::StartLoginResponse& started) {
    const std::string& url = started.authorization_url();
    return absl::StrCat(
        kRedirectUri,
        "?code=", house_.endpoint.Consent("app", kRedirectUri, QueryParam(url, "code_challenge")),
        "&state=", QueryParam(url, "state"));
  }
  // `OUTCOME DETAIL` of what happened last.
  std::string LastHistory() {
    v1::HistoryRequest request;
    request.set_name("crm/token");
    request.set_limit(1);
    std::string last;
    house_.keeper().History(request, [&](const absl::StatusOr<v1::HistoryResponse>& history) {
      if (!history.ok() || history->entries().empty()) return;
      const v1::HistoryEntry& entry = history->entries(0);
      last = absl::StrCat(entry.what(), " ", entry.outcome(), " ", entry.detail());
    });
    house_.Advance(absl::ZeroDuration());
    return last;
  }
  static std::string Named(const Finished& finished) {
    for (const auto& [key, value] : base::MetadataOf(finished.status())) {
      if (key == "credential") return value;
    }
    return "";
  }
  static std::string Reason(const Finished& finished) { return base::ReasonOf(finished.status()); }
  std::string Now() { return house_.Published("crm/token"); }

  KeeperHouse house_{{}};
};

TEST_F(LoginTest, TheBrowsersCodeBecomesTokensThatAreKeptFresh) {
  Use("authorization_code");
  EXPECT_EQ(house_.log.Count({"NEEDS_CONSENT"}), 1);
  const Started started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_TRUE(
      absl::StartsWith(started->authorization_url(),
                       "https://crm.example.com/authorize?response_type=code&client_id=app"));
  EXPECT_EQ(QueryParam(started->authorization_url(), "code_challenge_method"), "S256");
  EXPECT_GE(QueryParam(started->authorization_url(), "state").size(), 43u);
  const Finished finished = FinishNow(started->login_id(), Consent(*started));
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(finished->version(), 1u);
  EXPECT_TRUE(finished->has_refresh_token());
  EXPECT_EQ(finished->granted_scopes_size(), 0);
  const std::string first = Now();
  EXPECT_TRUE(house_.endpoint.Accepts(first));
  EXPECT_TRUE(house_.failures().List().empty());
  house_.Advance(absl::Hours(1));
  EXPECT_NE(Now(), first);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  // And over a restart.
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  house_.Advance(absl::Hours(1));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.endpoint.replays(), 0);
}

TEST_F(LoginTest, ALoginIsOverAfterOneUse) {
  Use("authorization_code");
  const Started started = Start();
  const std::string address = Consent(*started);
  ASSERT_TRUE(FinishNow(started->login_id(), address).ok());
  EXPECT_EQ(Reason(FinishNow(started->login_id(), address)), "NO_SUCH_LOGIN");
  EXPECT_EQ(Reason(FinishNow("guessed", address)), "NO_SUCH_LOGIN");
}

TEST_F(LoginTest, ForgedRedirectsAreRefusedBeforeAnythingIsSent) {
  Use("authorization_code");
  for (const std::string tail :
       {"&iss=https%3A%2F%2Fevil.example.com", "x", "&state=y", "&error=e"}) {
    const Started started = Start();
    ASSERT_TRUE(started.ok());
    const int before = house_.endpoint.requests();
    const Finished finished = FinishNow(started->login_id(), Consent(*started) + tail);
    EXPECT_TRUE(absl::IsInvalidArgument(finished.status())) << finished.status();
    EXPECT_EQ(Reason(finished), "LOGIN_MISMATCH");
    EXPECT_EQ(house_.endpoint.requests(), before);
    EXPECT_FALSE(absl::StrContains(finished.status().message(), "evil"));
  }
  const Started started = Start();
  EXPECT_EQ(Reason(FinishNow(started->login_id(), absl::StrCat(kRedirectUri, "?code=c"))),
            "LOGIN_MISMATCH");
  EXPECT_EQ(Now(), "");
}

TEST_F(LoginTest, TheRightIssuerIsAccepted) {
  Use("authorization_code");
  const Started started = Start();
  EXPECT_TRUE(
      FinishNow(started->login_id(), Consent(*started) + "&iss=https%3A%2F%2Fcrm.example.com")
          .ok());
}

// RFC 9207 section 2.4.
TEST_F(LoginTest, ARedirectWithoutTheIssuerThatTheServerPromisesIsRefused) {
  for (const char* more : {"", "      authorization_url: https://crm.example.com/a\n"}) {
    Use("authorization_code", more);
    house_.endpoint.SetNamesItself(true);
    const int before = house_.endpoint.requests();
    for (const bool consents : {true, false}) {
      const Started unnamed = Start();
      ASSERT_TRUE(unnamed.ok()) << unnamed.status();
      const Finished finished =
          FinishNow(unnamed->login_id(),
                    consents ? Consent(*unnamed)
                             : absl::StrCat(kRedirectUri, "?error=access_denied&state=",
                                            QueryParam(unnamed->authorization_url(), "state")));
      EXPECT_TRUE(absl::IsInvalidArgument(finished.status())) << finished.status();
      EXPECT_EQ(Reason(finished), "LOGIN_MISMATCH");
      EXPECT_TRUE(absl::StrContains(finished.status().message(), "names no issuer"))
          << finished.status();
    }
    EXPECT_EQ(house_.endpoint.requests(), before);
    Started started = Start();
    ASSERT_TRUE(started.ok()) << started.status();
    const std::string good = Consent(*started) + "&iss=https%3A%2F%2Fcrm.example.com";
    EXPECT_TRUE(FinishNow(started->login_id(), good).ok());
    house_.endpoint.SetNamesItself(false);
    started = Start();
    EXPECT_TRUE(FinishNow(started->login_id(), Consent(*started)).ok());
  }
}

TEST_F(LoginTest, StatedAddressesNeedNoMetadata) {
  Use("authorization_code", "      authorization_url: https://crm.example.com/a\n");
  house_.endpoint.SetDiscovery(absl::UnavailableError("no metadata"));
  const Started started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_TRUE(absl::StartsWith(started->authorization_url(), "https://crm.example.com/a?"));
  EXPECT_TRUE(FinishNow(started->login_id(), Consent(*started)).ok());
}

TEST_F(LoginTest, ALoginThatFailedIsInTheHistoryAndNamesItsCredential) {
  Use("authorization_code");
  const auto fail = [&](const std::string& address_tail, bool consent) {
    const Started started = Start();
    const std::string state = QueryParam(started->authorization_url(), "state");
    const Finished finished = FinishNow(
        started->login_id(),
        consent ? Consent(*started) : absl::StrCat(kRedirectUri, address_tail, "&state=", state));
    EXPECT_EQ(Named(finished), "crm/token") << finished.status();
    const std::string last = LastHistory();
    EXPECT_FALSE(absl::StrContains(last, state)) << last;
    EXPECT_FALSE(absl::StrContains(last, "hush")) << last;
    return last;
  };
  EXPECT_EQ(fail("?error=access_denied", false),
            "login failed LOGIN_DENIED: the person or the server denied consent");
  EXPECT_TRUE(absl::StartsWith(fail("?code=hush", false),
                               "login failed LOGIN_REFUSED: the server does not accept the code"));
  EXPECT_TRUE(absl::StartsWith(fail("?code=hush&state=x", false), "login failed LOGIN_MISMATCH: "));
  house_.endpoint.InjectNext({TokenFault::Kind::kRefuseClient});
  EXPECT_EQ(fail("", true),
            "login failed LOGIN_REFUSED: the server refuses the client (invalid_client)");
  const Started forgotten = Start();
  house_.Advance(absl::Minutes(10));
  EXPECT_EQ(LastHistory(), "login failed LOGIN_EXPIRED: nobody consented in time");
  // And one that worked is one line, with the name for the audit.
  const Started good = Start();
  const Finished finished = FinishNow(good->login_id(), Consent(*good));
  ASSERT_TRUE(finished.ok());
  EXPECT_EQ(LastHistory(), "login succeeded ");
}

TEST_F(LoginTest, WhatTheServerSaysInTheBrowserIsExplained) {
  Use("authorization_code");
  struct Case {
    const char* error;
    absl::StatusCode code;
    const char* reason;
  };
  for (const Case& c :
       {Case{"access_denied", absl::StatusCode::kPermissionDenied, "LOGIN_DENIED"},
        Case{"invalid_scope", absl::StatusCode::kPermissionDenied, "LOGIN_REFUSED"},
        Case{"login_required", absl::StatusCode::kPermissionDenied, "LOGIN_REFUSED"},
        Case{"server_error", absl::StatusCode::kUnavailable, "LOGIN_FAILED"},
        Case{"<b>buy%20now", absl::StatusCode::kPermissionDenied, "LOGIN_REFUSED"}}) {
    const Started started = Start();
    const Finished finished = FinishNow(
        started->login_id(),
        absl::StrCat(kRedirectUri, "?error=", c.error, "&error_description=call%20us&state=",
                     QueryParam(started->authorization_url(), "state")));
    EXPECT_EQ(finished.status().code(), c.code) << c.error;
    EXPECT_EQ(Reason(finished), c.reason) << c.error;
    EXPECT_FALSE(absl::StrContains(finished.status().message(), "buy")) << finished.status();
    EXPECT_FALSE(absl::StrContains(finished.status().message(), "call us")) << finished.status();
  }
}

TEST_F(LoginTest, ACodeThatTheServerDoesNotTakeIsExplained) {
  Use("authorization_code");
  struct Case {
    TokenFault::Kind fault;
    const char* reason;
  };
  for (const Case& c : {Case{TokenFault::Kind::kLoseReply, "LOGIN_FAILED"},
                        Case{TokenFault::Kind::kRefuseClient, "LOGIN_REFUSED"},
                        Case{TokenFault::Kind::kProxyPage, "LOGIN_FAILED"}}) {
    const Started started = Start();
    house_.endpoint.InjectNext({c.fault});
    EXPECT_EQ(Reason(FinishNow(started->login_id(), Consent(*started))), c.reason);
  }
  const Started started = Start();
  const Finished unknown = FinishNow(
      started->login_id(), absl::StrCat(kRedirectUri, "?code=other&state=",
                                        QueryParam(started->authorization_url(), "state")));
  EXPECT_EQ(Reason(unknown), "LOGIN_REFUSED");
  EXPECT_EQ(Now(), "");
}

TEST_F(LoginTest, ABusyServerIsAskedAgainWithTheSameCode) {
  Use("authorization_code");
  const Started started = Start();
  house_.endpoint.InjectNext(
      {.kind = TokenFault::Kind::kTransient, .retry_after = absl::Seconds(3)});
  EXPECT_TRUE(FinishNow(started->login_id(), Consent(*started)).ok());
}

TEST_F(LoginTest, LoginsRunOut) {
  Use("authorization_code");
  const Started started = Start();
  house_.Advance(absl::Minutes(10));
  EXPECT_EQ(Reason(FinishNow(started->login_id(), Consent(*started))), "NO_SUCH_LOGIN");
}

TEST_F(LoginTest, ANewLoginTakesTheOldOnesPlace) {
  Use("authorization_code");
  const Started old = Start();
  const Started fresh = Start();
  EXPECT_EQ(Reason(FinishNow(old->login_id(), Consent(*old))), "NO_SUCH_LOGIN");
  EXPECT_TRUE(FinishNow(fresh->login_id(), Consent(*fresh)).ok());
}

TEST_F(LoginTest, ARestartForgetsLogins) {
  Use("authorization_code");
  const Started started = Start();
  const std::string address = Consent(*started);
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(Reason(FinishNow(started->login_id(), address)), "NO_SUCH_LOGIN");
}

TEST_F(LoginTest, SixteenLoginsAreOpenAtMost) {
  std::string yaml = "credentials:\n";
  for (int i = 0; i <= 16; ++i) {
    absl::StrAppend(&yaml, "  crm/t", i,
                    ":\n    oauth: { grant: authorization_code, client_id: app, client_auth: none, "
                    "token_url: https://crm.example.com/token, authorization_url: "
                    "https://crm.example.com/a }\n");
  }
  ASSERT_TRUE(house_.Apply(yaml).ok());
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(Start(kRedirectUri, absl::StrCat("crm/t", i)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Start(kRedirectUri, "crm/t16").status()));
  EXPECT_TRUE(Start(kRedirectUri, "crm/t3").ok());
  house_.Advance(absl::Minutes(10));
  EXPECT_TRUE(Start(kRedirectUri, "crm/t16").ok());
}

TEST_F(LoginTest, WhatHasNoLoginSaysSo) {
  ASSERT_TRUE(house_.Apply(Yaml("client_credentials")).ok());
  EXPECT_EQ(base::ReasonOf(Start().status()), "NOT_POSSIBLE_NOW");
  EXPECT_TRUE(absl::IsNotFound(Start(kRedirectUri, "crm/none").status()));
  Use("authorization_code");
  EXPECT_TRUE(absl::IsInvalidArgument(Start("http://evil.example.com/").status()));
  house_.endpoint.SetDiscovery(absl::UnavailableError("no metadata"));
  EXPECT_EQ(base::ReasonOf(Start().status()), "LOGIN_FAILED");
}

TEST_F(LoginTest, ACredentialThatChangedMeanwhileNeedsANewLogin) {
  Use("authorization_code");
  const Started started = Start();
  ASSERT_TRUE(house_.Apply(Yaml("authorization_code", "      scopes: [ admin ]\n")).ok());
  EXPECT_EQ(Reason(FinishNow(started->login_id(), Consent(*started))), "LOGIN_FAILED");
}

TEST_F(LoginTest, NewConsentEndsDoubtAndReplacesTheOldGrant) {
  Use("authorization_code");
  const Started first = Start();
  ASSERT_TRUE(FinishNow(first->login_id(), Consent(*first)).ok());
  house_.endpoint.InjectNext({TokenFault::Kind::kLoseReply});
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Count({"REFRESH_IN_DOUBT"}) > 0; },
                                  absl::Hours(1)));
  const Started again = Start();
  ASSERT_TRUE(FinishNow(again->login_id(), Consent(*again)).ok());
  EXPECT_TRUE(house_.failures().List().empty());
  house_.Advance(absl::Hours(3));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.endpoint.replays(), 0);
}

TEST_F(LoginTest, ARefreshUnderWayDoesNotOverwriteWhatConsentBrought) {
  Use("authorization_code");
  const Started first = Start();
  ASSERT_TRUE(FinishNow(first->login_id(), Consent(*first)).ok());
  const Started again = Start();
  const std::string address = Consent(*again);
  house_.endpoint.InjectNext({.kind = TokenFault::Kind::kLateEffect, .late_by = absl::Seconds(5)});
  const auto refreshed = house_.Refreshing("crm/token");
  house_.Advance(absl::Milliseconds(1));
  ASSERT_TRUE(FinishNow(again->login_id(), address).ok());
  EXPECT_TRUE(refreshed->has_value() && (**refreshed).ok());  // what it waited for is there
  const std::string consented = Now();
  house_.Advance(absl::Seconds(60));
  EXPECT_EQ(Now(), consented);
}

TEST_F(LoginTest, WithoutARefreshTokenTheNextConsentIsAskedForEarly) {
  Use("authorization_code");
  house_.endpoint.SetGivesRefreshTokens(false);
  const Started started = Start();
  const Finished finished = FinishNow(started->login_id(), Consent(*started));
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_FALSE(finished->has_refresh_token());
  EXPECT_NE(Now(), "");
  house_.log.Clear();
  house_.Advance(absl::Minutes(9));
  EXPECT_EQ(house_.log.Count({"NEEDS_CONSENT"}), 1);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));  // and it is handed out as long as it works
}

TEST_F(LoginTest, TokensAreStoredBeforeTheLoginIsOver) {
  Use("authorization_code");
  const Started started = Start();
  const std::string address = Consent(*started);
  auto answer = std::make_shared<std::optional<Finished>>();
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  Finish(started->login_id(), address, answer);
  house_.Advance(absl::Milliseconds(500));
  EXPECT_FALSE(answer->has_value());
  EXPECT_EQ(Now(), "");
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Seconds(5));
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE((**answer).ok()) << (**answer).status();
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(LoginTest, ADeviceIsAskedAboutUntilThePersonDecided) {
  Use("device_code");
  const Started started = Start("");
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(started->user_code(), "WDJB-MJHT");
  EXPECT_EQ(started->verification_uri(), "https://crm.example.com/device");
  EXPECT_EQ(started->authorization_url(), "");
  auto answer = std::make_shared<std::optional<Finished>>();
  Finish(started->login_id(), "", answer);
  house_.Advance(absl::Seconds(26));
  EXPECT_EQ(house_.endpoint.polls(), 5);
  EXPECT_FALSE(answer->has_value());
  house_.endpoint.SlowDownOnce();
  house_.Advance(absl::Seconds(35));
  EXPECT_EQ(house_.endpoint.polls(), 9);  // one more told it to slow down, then every 10 s
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Seconds(11));
  ASSERT_TRUE(answer->has_value());
  ASSERT_TRUE((**answer).ok()) << (**answer).status();
  EXPECT_TRUE((**answer)->has_refresh_token());
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  const int polls = house_.endpoint.polls();
  house_.Advance(absl::Minutes(4));
  EXPECT_EQ(house_.endpoint.polls(), polls);
}

TEST_F(LoginTest, ADevicesConsentIsStoredThoughNobodyWaits) {
  Use("device_code");
  const Started started = Start("");
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Seconds(6));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_TRUE(FinishNow(started->login_id(), "").ok());
  EXPECT_EQ(Reason(FinishNow(started->login_id(), "")), "NO_SUCH_LOGIN");
}

TEST_F(LoginTest, TroubleOnTheWayDoesNotEndADevicesLogin) {
  Use("device_code");
  const Started started = Start("");
  for (const auto kind : {TokenFault::Kind::kTransient, TokenFault::Kind::kProxyPage,
                          TokenFault::Kind::kServerError, TokenFault::Kind::kLoseRequest}) {
    house_.endpoint.InjectNext({kind});
  }
  house_.endpoint.DecideDevices(true);
  const Finished finished = FinishNow(started->login_id(), "");
  EXPECT_TRUE(finished.ok()) << finished.status();
}

TEST_F(LoginTest, DeniedAndForgottenDevicesAreToldApart) {
  Use("device_code");
  Started started = Start("");
  house_.endpoint.DecideDevices(false);
  const Finished denied = FinishNow(started->login_id(), "");
  EXPECT_TRUE(absl::IsPermissionDenied(denied.status())) << denied.status();
  EXPECT_EQ(Reason(denied), "LOGIN_DENIED");
  started = Start("");
  auto answer = std::make_shared<std::optional<Finished>>();
  Finish(started->login_id(), "", answer);
  house_.Advance(absl::Minutes(6));
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded((*answer)->status())) << (*answer)->status();
  EXPECT_EQ(Reason(**answer), "LOGIN_EXPIRED");
}

TEST_F(LoginTest, ADevicesFailureIsInTheHistoryOnce) {
  Use("device_code");
  const auto entries = [&] {
    v1::HistoryRequest request;
    request.set_name("crm/token");
    std::vector<std::string> all;
    house_.keeper().History(request, [&](const absl::StatusOr<v1::HistoryResponse>& history) {
      for (const auto& entry : history->entries()) {
        all.push_back(absl::StrCat(entry.what(), " ", entry.outcome(), " ", entry.detail()));
      }
    });
    house_.Advance(absl::ZeroDuration());
    return all;
  };
  const std::string denied = "login failed LOGIN_DENIED: the person or the server denied consent";
  ASSERT_TRUE(Start("").ok());
  house_.endpoint.DecideDevices(false);
  house_.Advance(absl::Minutes(6));  // nobody asks, and it runs out
  EXPECT_EQ(entries(), std::vector<std::string>{denied});
  const Started started = Start("");
  house_.endpoint.DecideDevices(false);
  house_.Advance(absl::Minutes(1));
  EXPECT_EQ(Named(FinishNow(started->login_id(), "")), "crm/token");
  EXPECT_EQ(entries(), (std::vector<std::string>{denied, denied}));
}

TEST_F(LoginTest, ADeviceHasNoAddressAndABrowserHasOne) {
  Use("device_code");
  EXPECT_EQ(base::ReasonOf(Start(kRedirectUri).status()), "LOGIN_BY_DEVICE");
  const Started device = Start("");
  EXPECT_TRUE(absl::IsInvalidArgument(FinishNow(device->login_id(), kRedirectUri).status()));
  house_.endpoint.DecideDevices(true);
  EXPECT_TRUE(FinishNow(device->login_id(), "").ok());
  Use("authorization_code");
  const Started browser = Start();
  EXPECT_TRUE(absl::IsInvalidArgument(FinishNow(browser->login_id(), "").status()));
  house_.endpoint.SetDiscovery(absl::FailedPreconditionError("no device endpoint"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Start("").status()));
}

TEST_F(LoginTest, NothingOfALoginIsLogged) {
  Use("authorization_code");
  const Started started = Start();
  const std::string address = Consent(*started);
  ASSERT_TRUE(FinishNow(started->login_id(), address).ok());
  EXPECT_EQ(house_.log.Count({QueryParam(started->authorization_url(), "state")}), 0);
  EXPECT_EQ(house_.log.Count({started->login_id()}), 0);
  for (const std::string& token : house_.endpoint.issued()) {
    EXPECT_EQ(house_.log.Count({token}), 0);
  }
}

TEST_F(LoginTest, WhoMayFinishAnotherCredentialsLoginsMayNotFinishThisOne) {
  Use("authorization_code");
  const Started started = Start();
  ASSERT_TRUE(started.ok()) << started.status();
  v1::FinishLoginRequest request;
  request.set_name("crm/other");
  request.set_login_id(started->login_id());
  request.set_redirected_to(kRedirectUri);
  std::optional<Finished> answer;
  house_.keeper().FinishLogin(request, [&](Finished f) { answer = std::move(f); });
  house_.Advance(absl::ZeroDuration());
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(base::ReasonOf(answer->status()), "NO_SUCH_LOGIN");
}

}  // namespace
}  // namespace keyturn::lifecycle

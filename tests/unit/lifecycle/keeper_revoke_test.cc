// SPDX-License-Identifier: Apache-2.0
// Ending tokens at the server: what is asked for in which order, what is forgotten and what is kept
// when the server does not do it, and what deleting a credential adds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/faulty_backend.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

class KeeperRevokeTest : public testing::Test {
 protected:
  KeeperRevokeTest() : house_({}) {}

  // A token with a refresh token, which has been got once.
  void Grant(const std::string& more = "revocation_url: https://h/revoke") {
    ASSERT_TRUE(house_
                    .Apply(absl::StrCat("credentials:\n  t:\n    oauth: { token_url: https://h/t, "
                                        "grant: refresh_token, client_id: c, client_auth: none, "
                                        "refresh_token: rotates, ",
                                        more, " }\n"))
                    .ok());
    ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
    ASSERT_TRUE(Fetched());
  }
  // Which people can log in to, on another device; it has got no token yet.
  void Device() {
    ASSERT_TRUE(house_
                    .Apply("credentials:\n  t:\n    oauth: { token_url: https://h/t, grant: "
                           "device_code, device_url: https://h/d, client_id: c, client_auth: none, "
                           "revocation_url: https://h/revoke }\n")
                    .ok());
  }
  bool Fetched() {
    return house_.AdvanceUntil([&] { return !house_.Published("t").empty(); }, absl::Minutes(1));
  }
  template <class T>
  using Answer = std::shared_ptr<std::optional<absl::StatusOr<T>>>;
  // Each begins, and time does not pass.
  Answer<v1::RevokeResponse> Revoking(const std::string& name = "t") {
    v1::RevokeRequest request;
    request.set_name(name);
    auto got = std::make_shared<std::optional<absl::StatusOr<v1::RevokeResponse>>>();
    house_.keeper().Revoke(request, [got](auto response) { *got = std::move(response); });
    house_.Advance(absl::ZeroDuration());
    return got;
  }
  Answer<v1::DeleteResponse> Deleting() {
    v1::DeleteRequest request;
    request.set_type("credential");
    request.set_name("t");
    auto got = std::make_shared<std::optional<absl::StatusOr<v1::DeleteResponse>>>();
    house_.keeper().Delete(request, [got](auto response) { *got = std::move(response); });
    house_.Advance(absl::ZeroDuration());
    return got;
  }
  Answer<v1::StartLoginResponse> StartingLogin() {
    v1::StartLoginRequest request;
    request.set_name("t");
    auto got = std::make_shared<std::optional<absl::StatusOr<v1::StartLoginResponse>>>();
    house_.keeper().StartLogin(request, [got](auto response) { *got = std::move(response); });
    house_.Advance(absl::ZeroDuration());
    return got;
  }
  template <class T>
  absl::StatusOr<T> Wait(const Answer<T>& got) {
    house_.AdvanceUntil([&] { return got->has_value(); }, absl::Minutes(2));
    return got->value_or(absl::InternalError("no answer"));
  }
  absl::StatusOr<v1::RevokeResponse> Revoke(const std::string& name = "t") {
    return Wait(Revoking(name));
  }
  absl::StatusOr<v1::DeleteResponse> Delete() { return Wait(Deleting()); }
  absl::Status Ask() {
    std::optional<absl::Status> got;
    house_.keeper().EnsureFresh("t", absl::Seconds(10), [&](absl::Status s) { got = s; });
    house_.AdvanceUntil([&] { return got.has_value(); }, absl::Minutes(1));
    return got.value_or(absl::InternalError("no answer"));
  }
  std::string LastHistory() {
    v1::HistoryRequest request;
    request.set_name("t");
    std::string last;
    house_.keeper().History(request, [&](absl::StatusOr<v1::HistoryResponse> history) {
      const v1::HistoryEntry& entry = history->entries(0);
      last = absl::StrCat(entry.what(), " ", entry.outcome(), " ", entry.detail());
    });
    house_.Advance(absl::Seconds(1));
    return last;
  }

  fakes::KeeperHouse house_;
};

TEST_F(KeeperRevokeTest, TheRefreshTokenEndsFirstAndThenBothAreForgotten) {
  Grant();
  const std::string access = house_.Published("t");
  const auto ended = Revoke();
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->refresh_token(), "revoked");
  EXPECT_EQ(ended->access_token(), "revoked");
  EXPECT_THAT(house_.endpoint.revocations(),
              ElementsAre(StartsWith("refresh_token rt-c-"), "access_token " + access));
  EXPECT_FALSE(house_.endpoint.GrantAlive("c"));
  EXPECT_EQ(house_.Published("t"), "");
  EXPECT_EQ(base::ReasonOf(Ask()), "NEEDS_CONSENT");
  EXPECT_TRUE(house_.failures().Find("t").has_value());
  EXPECT_EQ(LastHistory(), "revoke succeeded refresh token: revoked, access token: revoked");
  // And after a restart nothing of it comes back.
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  house_.Advance(absl::Minutes(5));
  EXPECT_EQ(house_.Published("t"), "");
  EXPECT_EQ(house_.endpoint.replays(), 0);
  // A new consent makes it whole again.
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  EXPECT_TRUE(Fetched());
}

TEST_F(KeeperRevokeTest, AMachinesTokenIsGotAnewWhenSomebodyAsks) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  const int before = house_.endpoint.requests();
  const auto ended = Revoke();
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->refresh_token(), "none");
  EXPECT_EQ(ended->access_token(), "revoked");
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.endpoint.requests(), before);
  EXPECT_TRUE(Ask().ok());
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
}

TEST_F(KeeperRevokeTest, WhatTheServerDidNotEndIsKept) {
  Grant();
  const std::string access = house_.Published("t");
  house_.endpoint.SetRevocation(absl::UnavailableError("timeout"));
  const auto failed = Revoke();
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_EQ(failed->refresh_token(), "failed");
  EXPECT_EQ(failed->access_token(), "failed");
  EXPECT_EQ(house_.endpoint.revocations().size(), 1u);
  EXPECT_EQ(house_.Published("t"), access);
  EXPECT_TRUE(absl::StartsWith(LastHistory(), "revoke failed"));
  // It goes on as before, and can be tried again.
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.Published("t") != access; }, absl::Minutes(10)));
  house_.endpoint.SetRevocation(absl::OkStatus());
  EXPECT_EQ(Revoke()->refresh_token(), "revoked");
}

TEST_F(KeeperRevokeTest, WithoutAnEndpointTokensAreForgottenAllTheSame) {
  Grant();
  house_.endpoint.SetRevocation(absl::UnimplementedError("no endpoint"));
  const auto ended = Revoke();
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->refresh_token(), "unsupported");
  EXPECT_EQ(ended->access_token(), "unsupported");
  EXPECT_EQ(house_.Published("t"), "");
}

TEST_F(KeeperRevokeTest, WhatCouldNotEvenBeAskedForIsKeptAndSaid) {
  Grant();
  const std::string access = house_.Published("t");
  house_.endpoint.SetRevocation(absl::FailedPreconditionError("another issuer"));
  const auto failed = Revoke();
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_EQ(failed->refresh_token(), "failed");
  EXPECT_EQ(failed->detail(), "another issuer");
  EXPECT_EQ(house_.Published("t"), access);
}

TEST_F(KeeperRevokeTest, ATokenIsEndedThoughTheDateWasSetBeyondItsEnd) {
  Grant();
  const std::string access = house_.Published("t");
  house_.clock.StepWall(absl::Hours(24));
  const auto ended = Revoke();
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->access_token(), "revoked");
  EXPECT_FALSE(house_.endpoint.Accepts(access));
}

TEST_F(KeeperRevokeTest, ConsentThatIsGivenDuringTheWaitForARefreshIsNotEnded) {
  Grant();
  house_.endpoint.InjectNext({.kind = fakes::TokenFault::Kind::kLoseReply});
  house_.Refreshing("t");
  const auto revoking = Revoking();
  ASSERT_FALSE(revoking->has_value());
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  EXPECT_EQ(base::ReasonOf(Wait(revoking).status()), "NOT_POSSIBLE_NOW");
  EXPECT_TRUE(house_.endpoint.revocations().empty());
  ASSERT_TRUE(Fetched());
  EXPECT_TRUE(house_.endpoint.GrantAlive("c"));
}

TEST_F(KeeperRevokeTest, ARefreshThatDoesNotEndIsNotWaitedForWithoutEnd) {
  Grant();
  house_.Refreshing("t");
  house_.store.faults().FailAllCommits(fakes::CommitFault::kDiskFull);  // what it brings is held
  const auto revoking = Revoking();
  const auto deleting = Deleting();
  house_.Advance(absl::Seconds(39));
  EXPECT_FALSE(revoking->has_value());
  EXPECT_FALSE(deleting->has_value());
  house_.Advance(absl::Seconds(2));
  ASSERT_TRUE(revoking->has_value());
  EXPECT_EQ(base::ReasonOf((**revoking).status()), "NOT_POSSIBLE_NOW");
  ASSERT_TRUE(deleting->has_value());
  EXPECT_TRUE(absl::IsResourceExhausted((**deleting).status()));
  EXPECT_TRUE(house_.endpoint.revocations().empty());
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Seconds(2));
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t"))) << "nothing was lost";
}

TEST_F(KeeperRevokeTest, ADeletionEndsWhatARefreshBringsMeanwhile) {
  Grant();
  house_.Refreshing("t");
  const auto deleted = Delete();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->note(), "its tokens were ended at the server");
  EXPECT_FALSE(house_.endpoint.GrantAlive("c"));
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_FALSE(house_.Describe("t").ok());
}

TEST_F(KeeperRevokeTest, ARefreshUnderWayIsWaitedForAndItsTokensAreEnded) {
  Grant();
  house_.Refreshing("t");
  const auto ended = Revoke();
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_FALSE(house_.endpoint.GrantAlive("c"));
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_EQ(house_.Published("t"), "");
  house_.Advance(absl::Minutes(5));
  EXPECT_EQ(house_.Published("t"), "");
}

TEST_F(KeeperRevokeTest, WhoAsksMeanwhileWaitsAndNothingIsRefreshed) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  house_.Advance(absl::Hours(1));  // the token has been refreshed since
  const int before = house_.endpoint.requests();
  std::optional<absl::StatusOr<v1::RevokeResponse>> ended;
  v1::RevokeRequest request;
  request.set_name("t");
  house_.keeper().Revoke(request, [&](auto response) { ended = std::move(response); });
  house_.Advance(absl::ZeroDuration());
  std::optional<absl::Status> asked;
  house_.keeper().EnsureFresh("t", absl::Seconds(10), [&](absl::Status s) { asked = s; });
  house_.Advance(absl::ZeroDuration());
  EXPECT_EQ(house_.endpoint.requests(), before);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return asked.has_value(); }, absl::Seconds(10)));
  EXPECT_TRUE(asked->ok()) << *asked;
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
}

TEST_F(KeeperRevokeTest, OnlyTokensCanBeRevoked) {
  ASSERT_TRUE(house_.Apply("credentials:\n  s: { static: {} }\n").ok());
  EXPECT_EQ(base::ReasonOf(Revoke("s").status()), "NOT_POSSIBLE_NOW");
  EXPECT_TRUE(absl::IsNotFound(Revoke("none").status()));
}

TEST_F(KeeperRevokeTest, DeletingACredentialEndsItsTokens) {
  Grant();
  const auto deleted = Delete();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->note(), "its tokens were ended at the server");
  EXPECT_EQ(house_.endpoint.revocations().size(), 2u);
  EXPECT_FALSE(house_.Describe("t").ok());
}

TEST_F(KeeperRevokeTest, AServerThatFailsDoesNotKeepACredentialFromBeingDeleted) {
  Grant();
  house_.endpoint.SetRevocation(absl::UnavailableError("timeout"));
  const auto deleted = Delete();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->note(),
            "the server did not end its refresh token and its access token; end the grant there");
  EXPECT_FALSE(house_.Describe("t").ok());
}

TEST_F(KeeperRevokeTest, ARefreshTokenThatIsPutMeanwhileIsUsed) {
  Grant();
  const std::string access = house_.Published("t");
  const int before = house_.log.Failures("NEEDS_CONSENT");  // until the first one was put
  const auto revoking = Revoking();
  ASSERT_FALSE(revoking->has_value());
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  const int requests = house_.endpoint.requests();
  ASSERT_TRUE(Wait(revoking).ok());
  EXPECT_EQ(house_.Published("t"), "");
  ASSERT_TRUE(Fetched());
  house_.Advance(absl::Seconds(10));
  EXPECT_EQ(house_.endpoint.requests(), requests + 1) << "once is enough";
  EXPECT_NE(house_.Published("t"), access);
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
  EXPECT_TRUE(house_.endpoint.GrantAlive("c"));
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), before);
}

TEST_F(KeeperRevokeTest, ARefreshTokenThatIsPutWhileTheServerFailsIsUsedAtOnce) {
  Grant();
  const std::string access = house_.Published("t");
  house_.endpoint.SetRevocation(absl::UnavailableError("timeout"));
  const auto revoking = Revoking();
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  EXPECT_EQ(Wait(revoking)->refresh_token(), "failed");
  house_.Advance(absl::Seconds(1));
  EXPECT_NE(house_.Published("t"), access);
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
}

TEST_F(KeeperRevokeTest, ARefreshTokenThatIsPutDuringADeletionIsSaidToLive) {
  Grant();
  const auto deleting = Deleting();
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  const auto deleted = Wait(deleting);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->note(), "a refresh token that was put meanwhile was not ended at the server");
  EXPECT_FALSE(house_.Describe("t").ok());
}

TEST_F(KeeperRevokeTest, WhileTokensAreBeingEndedNobodyBeginsToEndThemOrToLogIn) {
  Device();
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  ASSERT_TRUE(Fetched());
  for (const bool deletion : {false, true}) {
    if (deletion) {
      ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
      ASSERT_TRUE(Fetched());
    }
    const auto revoking = deletion ? nullptr : Revoking();
    const auto deleting = deletion ? Deleting() : nullptr;
    for (const absl::Status& refused :
         {Wait(Revoking()).status(), Wait(Deleting()).status(), Wait(StartingLogin()).status()}) {
      EXPECT_EQ(base::ReasonOf(refused), "NOT_POSSIBLE_NOW");
      EXPECT_TRUE(absl::StrContains(refused.message(), "is being revoked")) << refused;
    }
    EXPECT_EQ(house_.endpoint.revocations().size(), deletion ? 3u : 1u) << "asked for once";
    EXPECT_TRUE(deletion ? Wait(deleting).ok() : Wait(revoking).ok());
  }
  EXPECT_FALSE(house_.Describe("t").ok());
  // What has its name from now on is another one.
  Device();
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  ASSERT_TRUE(Fetched());
  house_.Advance(absl::Minutes(5));
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
}

TEST_F(KeeperRevokeTest, ALoginThatTheStoreDidNotTakeYetIsThrownAway) {
  Device();
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  ASSERT_TRUE(Fetched());
  ASSERT_TRUE(Wait(StartingLogin()).ok());
  house_.endpoint.DecideDevices(true);
  house_.store.faults().FailAllCommits(fakes::CommitFault::kDiskFull);
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.log.Failures("STORE_FULL") > 0; }, absl::Minutes(1)));
  house_.store.faults().FailAllCommits(std::nullopt);
  // The server answers a little after the next time that the login would be stored.
  house_.Advance(absl::Milliseconds(970));
  const auto revoking = Revoking();
  house_.Advance(absl::Milliseconds(35));
  ASSERT_FALSE(revoking->has_value());
  EXPECT_EQ(Wait(revoking)->refresh_token(), "revoked");
  house_.Advance(absl::Minutes(5));
  EXPECT_EQ(house_.Published("t"), "");
  EXPECT_EQ(base::ReasonOf(Ask()), "NEEDS_CONSENT");
}

TEST_F(KeeperRevokeTest, DeletingACredentialEndsItsLogin) {
  Device();
  ASSERT_TRUE(Wait(StartingLogin()).ok());
  ASSERT_TRUE(Delete().ok());
  Device();
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Minutes(5));
  EXPECT_EQ(house_.Published("t"), "") << "consent to one was stored in another";
}

TEST_F(KeeperRevokeTest, ADeletionThatTheStoreDoesNotTakeLeavesNoEndedTokens) {
  Grant();
  const auto deleting = Deleting();
  house_.store.faults().FailCommit(1, fakes::CommitFault::kDiskFull);
  EXPECT_FALSE(Wait(deleting).ok());
  EXPECT_TRUE(house_.Describe("t").ok());
  EXPECT_EQ(house_.Published("t"), "");
  EXPECT_EQ(base::ReasonOf(Ask()), "NEEDS_CONSENT");
  EXPECT_TRUE(Delete().ok());
}

TEST_F(KeeperRevokeTest, NobodyIsWarnedAnyMoreThatAConsentEndsWhichIsOver) {
  Grant("revocation_url: https://h/revoke, consent: { lifetime: 10h }");
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("EXPIRES_SOON") > 0; },
                                  absl::Hours(10)));
  ASSERT_TRUE(Revoke().ok());
  EXPECT_EQ(house_.log.Resolved("EXPIRES_SOON"), 1);
}

TEST_F(KeeperRevokeTest, WhereOnlyTheIssuerIsStatedItsMetadataSaysHowTokensEnd) {
  Grant("issuer: https://h");
  const auto deleted = Delete();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->note(), "its tokens were ended at the server");
  EXPECT_EQ(house_.endpoint.revocations().size(), 2u);
  EXPECT_FALSE(house_.endpoint.GrantAlive("c"));
}

TEST_F(KeeperRevokeTest, ADeletionSaysThatTheMetadataNamesNoWay) {
  Grant("issuer: https://h");
  house_.endpoint.SetRevocation(absl::UnimplementedError("no endpoint"));
  const auto deleted = Delete();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->note(),
            "the server has no way to end its refresh token and its access token; end the grant "
            "there");
  EXPECT_FALSE(house_.Describe("t").ok());
}

TEST_F(KeeperRevokeTest, WithoutARevocationEndpointNothingIsAskedForOnDelete) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  const auto deleted = Delete();
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->note(), "");
  EXPECT_TRUE(house_.endpoint.revocations().empty());
}

}  // namespace
}  // namespace keyturn::lifecycle

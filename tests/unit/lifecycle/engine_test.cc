// SPDX-License-Identifier: Apache-2.0
// The engine around the state machine: what it does when its surroundings fail it. A provider that
// is gone, a manager that has no value, a credential that is deleted under a call, a disk that
// refuses, and people who ask at the wrong moment.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using fakes::ProviderCall;
using observe::FailureCode;
using providers::ProviderClass;

constexpr char kRotated[] = R"(
providers: { p: { recipe: fake } }
credentials:
  app/key: { provider: p, rotate: { every: 1d, jitter: 0%, grace: 1h } }
)";

constexpr char kManaged[] = R"(
providers: { p: { recipe: fake, manager: team/admin } }
credentials:
  team/admin:
    oauth: { token_url: "https://as.example.com/t", grant: client_credentials, client_id: admin,
             client_auth: none }
  app/key: { provider: p, rotate: { every: 1d, jitter: 0%, grace: 1h } }
)";

KeeperHouse::Options Of(ProviderClass provider_class) {
  KeeperHouse::Options options;
  options.provider.traits.provider_class = provider_class;
  return options;
}

class EngineTest : public testing::Test {
 protected:
  explicit EngineTest(KeeperHouse::Options options = Of(ProviderClass::kTagged))
      : house_(std::move(options)) {}
  void Begin(const std::string& yaml = kRotated) {
    ASSERT_TRUE(house_.Apply(yaml).ok());
    ASSERT_TRUE(Until([&] { return !house_.Published("app/key").empty(); }));
    Settle();
  }
  void Settle() {
    ASSERT_TRUE(Until([&] { return State().empty(); }));
  }
  std::string State() { return house_.RotationState("app/key"); }
  bool Until(const std::function<bool()>& done, absl::Duration limit = absl::Hours(3)) {
    return house_.AdvanceUntil(done, limit);
  }
  // The rotation goes on; what it ends with is in the result once it has.
  std::shared_ptr<std::optional<absl::Status>> Rotate() {
    v1::RotateRequest request;
    request.set_name("app/key");
    request.set_wait_until_done(true);
    auto end = std::make_shared<std::optional<absl::Status>>();
    house_.keeper().Rotate(
        std::move(request), [](const v1::RotateResponse&) {},
        [end](absl::Status status) { *end = std::move(status); });
    return end;
  }
  std::optional<observe::Failure> Open(FailureCode code) {
    for (const observe::OpenFailure& open : house_.failures().List()) {
      if (open.failure.code == code) return open.failure;
    }
    return std::nullopt;
  }
  int Calls(ProviderCall call) { return static_cast<int>(house_.provider->calls(call)); }

  KeeperHouse house_;
};

TEST_F(EngineTest, AnOpenRotationWhoseRecipeIsGoneWaitsForItAndSaysSo) {
  Begin();
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return State() == "retiring"; }));
  const std::string handed_out = house_.Published("app/key");
  house_.Crash();
  house_.registry().Remove(true);
  ASSERT_TRUE(house_.Start().ok());
  house_.Advance(absl::Hours(2));
  const auto failure = Open(FailureCode::kRotationFailed);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, "provider_unusable");
  EXPECT_EQ(house_.Published("app/key"), handed_out);
  EXPECT_EQ(State(), "retiring");

  house_.registry().Remove(false);
  house_.keeper().TryProvidersAgain();
  Settle();
  EXPECT_EQ(house_.provider->existing_keys().size(), 1u);
  // And once more, with nothing left to take up.
  house_.keeper().TryProvidersAgain();
  EXPECT_EQ(State(), "");
}

TEST_F(EngineTest, ARotationThatIsDueWithoutItsRecipeFailsAndTellsWhoAsked) {
  Begin();
  house_.Crash();
  house_.registry().Remove(true);
  ASSERT_TRUE(house_.Start().ok());
  const int creates = Calls(ProviderCall::kCreate);
  const auto end = Rotate();
  house_.Advance(absl::Hours(25));
  ASSERT_TRUE(end->has_value());
  EXPECT_FALSE((*end)->ok());
  EXPECT_EQ(Calls(ProviderCall::kCreate), creates);
}

TEST_F(EngineTest, ACredentialThatIsDeletedWhileAListIsOnItsWayIsForgotten) {
  Begin();
  const int creates = Calls(ProviderCall::kCreate);
  const int lists = Calls(ProviderCall::kList);
  const auto end = Rotate();
  house_.Advance(absl::ZeroDuration());
  ASSERT_GT(Calls(ProviderCall::kList), lists);
  ASSERT_TRUE(house_.Delete("credential", "app/key").ok());
  ASSERT_TRUE(end->has_value());
  EXPECT_TRUE(absl::IsAborted(**end)) << **end;
  house_.Advance(absl::Hours(3));
  EXPECT_EQ(Calls(ProviderCall::kCreate), creates);
}

TEST_F(EngineTest, ARotationThatIsAskedForDuringASweepIsMadeOfIt) {
  Begin();
  const int lists = Calls(ProviderCall::kList);
  ASSERT_TRUE(Until([&] { return Calls(ProviderCall::kList) > lists; }));  // the hourly look
  const std::string before = house_.Published("app/key");
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return end->has_value(); }));
  EXPECT_TRUE((*end)->ok()) << **end;
  EXPECT_NE(house_.Published("app/key"), before);
}

TEST_F(EngineTest, DisownWaitsUntilARotationHasEnded) {
  Begin();
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return State() == "retiring"; }));
  v1::DisownRequest request;
  request.set_name("app/key");
  std::optional<absl::Status> answer;
  house_.keeper().Disown(request,
                         [&](const absl::StatusOr<v1::DisownResponse>& r) { answer = r.status(); });
  house_.Advance(absl::ZeroDuration());
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(base::ReasonOf(*answer), "ROTATION_UNDER_WAY");
}

TEST_F(EngineTest, TagsOfClosedAttemptsAreForgottenAfterAMonth) {
  Begin();
  house_.Advance(absl::Hours(24 * 40));
  EXPECT_EQ(house_.provider->existing_keys().size(), 1u);
  const auto rows = house_.store.backend().Scan("tag/");
  ASSERT_TRUE(rows.ok());
  EXPECT_GT(rows->size(), 25u);
  EXPECT_LT(rows->size(), 35u);
}

TEST_F(EngineTest, AReplyToADeletedCredentialIsNotTakenForOneToItsNamesake) {
  Begin();
  const auto end = Rotate();
  house_.Advance(absl::ZeroDuration());
  ASSERT_TRUE(house_.Delete("credential", "app/key").ok());
  ASSERT_TRUE(house_.Apply(kRotated).ok());
  ASSERT_TRUE(Until([&] { return !house_.Published("app/key").empty(); }));
  Settle();
  EXPECT_TRUE(house_.provider->Works(house_.Published("app/key")));
  // The key of the credential that was deleted stays: nobody knows of it any more.
  EXPECT_EQ(house_.provider->existing_keys().size(), 2u);
}

TEST_F(EngineTest, DisownWithoutTheRecipeChangesNothing) {
  Begin();
  house_.Crash();
  house_.registry().Remove(true);
  ASSERT_TRUE(house_.Start().ok());
  v1::DisownRequest request;
  request.set_name("app/key");
  std::optional<absl::Status> answer;
  house_.keeper().Disown(request,
                         [&](const absl::StatusOr<v1::DisownResponse>& r) { answer = r.status(); });
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->ok());
}

TEST_F(EngineTest, ProvidersThatBecomeReadyDisturbNoRotationUnderWay) {
  Begin();
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return State() == "retiring"; }));
  const int lists = Calls(ProviderCall::kList);
  house_.keeper().TryProvidersAgain();
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(State(), "retiring");
  EXPECT_EQ(Calls(ProviderCall::kList), lists);
}

class ConsumersWaitTest : public EngineTest {
 protected:
  void SetUp() override {
    Begin(R"(
providers: { p: { recipe: fake } }
credentials:
  app/key:
    provider: p
    rotate: { every: 1d, jitter: 0%, grace: { min: 1h, max: 2h, wait_for: consumers } }
)");
    house_.Give("app/key", "unix:uid=1,pid=1", 1);
  }
};

TEST_F(ConsumersWaitTest, ADateSetForwardDoesNotCutTheLongestGraceShort) {
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return State() == "retiring"; }));
  house_.clock.StepWall(absl::Hours(5));
  house_.Advance(absl::Minutes(110));
  EXPECT_EQ(State(), "retiring");
  Settle();
}

TEST_F(ConsumersWaitTest, APromotionThatTheDiskHoldsUpKeepsItsWholeGrace) {
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return State() == "minted"; }));
  house_.store.faults().FailCommit(2, fakes::CommitFault::kDiskFull);  // after `verified`
  ASSERT_TRUE(Until([&] { return Open(FailureCode::kStoreFull).has_value(); }));
  house_.store.faults().FailAllCommits(fakes::CommitFault::kDiskFull);
  house_.Advance(absl::Hours(5));
  EXPECT_EQ(State(), "verified");
  house_.store.faults().FailAllCommits(std::nullopt);
  ASSERT_TRUE(Until([&] { return State() == "retiring"; }));
  const absl::Time promoted = house_.clock.WallNow();
  Settle();
  // The consumer never moves on: the most that it is given, from the moment of the promotion.
  EXPECT_GE(house_.clock.WallNow() - promoted, absl::Minutes(119));
}

class BroughtWithoutIdTest : public EngineTest {
 protected:
  BroughtWithoutIdTest() : EngineTest(Of(ProviderClass::kListed)) {}
};

TEST_F(BroughtWithoutIdTest, TheListGivesTheIdAwayAndTheOldKeyIsRevoked) {
  // The agent cannot make one itself yet.
  house_.provider->InjectNext(ProviderCall::kCreate, {fakes::ProviderFault::Kind::kRefuse, {}, {}});
  ASSERT_TRUE(house_.Apply(kRotated).ok());
  house_.Advance(absl::Seconds(1));
  const auto [id, value] = house_.provider->MakeKeyByHand();
  ASSERT_TRUE(house_.Put("app/key", std::string(value.Primary()->Reveal())).ok());
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return end->has_value(); }));
  EXPECT_TRUE((*end)->ok()) << **end;
  for (const auto& key : house_.provider->existing_keys()) EXPECT_NE(key.id, id);
}

// The manager credential is itself a token that has to be fetched.
class ManagerTokenTest : public EngineTest {
 protected:
  static KeeperHouse::Options Short() {
    KeeperHouse::Options options = Of(ProviderClass::kTagged);
    options.endpoint.lifetime = absl::Minutes(5);
    return options;
  }
  ManagerTokenTest() : EngineTest(Short()) {}
  void SetUp() override { Begin(kManaged); }
  // Until the token that is held has expired, too.
  void LoseTheManager() {
    house_.endpoint.SetFaults([] {
      return fakes::TokenFault{fakes::TokenFault::Kind::kTransient, {}, {}};
    });
    house_.Advance(absl::Minutes(10));
  }
  void FindTheManager() {
    house_.endpoint.SetFaults([] { return fakes::TokenFault(); });
  }
};

TEST_F(ManagerTokenTest, WithoutItNothingIsListedOrCreated) {
  LoseTheManager();
  const int lists = Calls(ProviderCall::kList);
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return end->has_value(); }));
  EXPECT_FALSE((*end)->ok());
  EXPECT_EQ(Calls(ProviderCall::kList), lists);
  const auto failure = Open(FailureCode::kRotationFailed);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause, "manager_unavailable");
  FindTheManager();
  ASSERT_TRUE(Until([&] { return !Open(FailureCode::kRotationFailed); }, absl::Hours(26)));
}

TEST_F(ManagerTokenTest, ACredentialThatIsDeletedWhileItIsFetchedIsForgotten) {
  house_.endpoint.SetFaults([] {
    return fakes::TokenFault{fakes::TokenFault::Kind::kLoseRequest, {}, {}};
  });
  house_.Advance(absl::Minutes(10));
  const int asked = house_.endpoint.requests();
  ASSERT_TRUE(Until([&] { return house_.endpoint.requests() > asked; }));
  const int lists = Calls(ProviderCall::kList);
  const auto end = Rotate();
  house_.Advance(absl::ZeroDuration());
  ASSERT_EQ(Calls(ProviderCall::kList), lists);
  ASSERT_FALSE(end->has_value());
  ASSERT_TRUE(house_.Delete("credential", "app/key").ok());
  EXPECT_TRUE(end->has_value());
  house_.Advance(absl::Minutes(5));
  EXPECT_EQ(Calls(ProviderCall::kList), lists);
}

TEST_F(ManagerTokenTest, WithoutItTheOldKeyIsRevokedLater) {
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return State() == "retiring"; }));
  LoseTheManager();
  const int revokes = Calls(ProviderCall::kRevoke);
  house_.Advance(absl::Hours(2));
  EXPECT_EQ(State(), "revoking");
  EXPECT_EQ(Calls(ProviderCall::kRevoke), revokes);
  EXPECT_TRUE(Open(FailureCode::kRevokeFailed).has_value());
  FindTheManager();
  Settle();
  EXPECT_EQ(house_.provider->existing_keys().size(), 1u);
}

class UnlistedManagerTest : public EngineTest {
 protected:
  static KeeperHouse::Options Unlisted() {
    KeeperHouse::Options options = Of(ProviderClass::kChosen);
    options.provider.traits.can_list = false;
    options.endpoint.lifetime = absl::Minutes(5);
    return options;
  }
  UnlistedManagerTest() : EngineTest(Unlisted()) {}
};

TEST_F(UnlistedManagerTest, WithoutItsManagerNothingIsCreated) {
  Begin(kManaged);
  house_.endpoint.SetFaults([] {
    return fakes::TokenFault{fakes::TokenFault::Kind::kTransient, {}, {}};
  });
  house_.Advance(absl::Minutes(10));
  const int creates = Calls(ProviderCall::kCreate);
  const auto end = Rotate();
  ASSERT_TRUE(Until([&] { return end->has_value(); }));
  EXPECT_FALSE((*end)->ok());
  EXPECT_EQ(Calls(ProviderCall::kCreate), creates);
}

}  // namespace
}  // namespace keyturn::lifecycle

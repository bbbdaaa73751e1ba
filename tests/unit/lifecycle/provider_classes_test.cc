// SPDX-License-Identifier: Apache-2.0
// The provider classes beyond those that mint a key beside the old one: what each does when all
// goes well, and what becomes of a reply that is lost at the worst moment.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::FakeProvider;
using fakes::KeeperHouse;
using fakes::ProviderCall;
using providers::ProviderClass;
using Kind = fakes::ProviderFault::Kind;

std::string Yaml(const std::string& more = "", const std::string& every = "1d") {
  return absl::StrCat("providers: { p: { recipe: fake }, r: { recipe: recovery } }\n",
                      "credentials:\n  app/key: { provider: p, ", more, " rotate: { every: ", every,
                      ", jitter: 0%, grace: 1h } }\n");
}

KeeperHouse::Options Of(ProviderClass provider_class) {
  KeeperHouse::Options options;
  providers::Traits& traits = options.provider.traits;
  traits.provider_class = provider_class;
  if (provider_class == ProviderClass::kDualSlot) traits.slots = {"key1", "key2"};
  const bool lists = provider_class == ProviderClass::kDualSlot;
  traits.can_list = lists;
  return options;
}

class ClassTest : public testing::Test {
 protected:
  explicit ClassTest(KeeperHouse::Options options) : house_(std::move(options)) {}

  std::string Key() { return house_.Published("app/key"); }
  std::string State() { return house_.RotationState("app/key"); }
  bool Works() { return house_.provider->Works(Key()); }
  bool Until(const std::function<bool()>& done, absl::Duration limit = absl::Hours(3)) {
    return house_.AdvanceUntil(done, limit);
  }
  std::optional<absl::Status> Rotate(bool until_done = false,
                                     absl::Duration limit = absl::Hours(3)) {
    v1::RotateRequest request;
    request.set_name("app/key");
    request.set_wait_until_done(until_done);
    auto end = std::make_shared<std::optional<absl::Status>>();
    house_.keeper().Rotate(
        std::move(request), [](const v1::RotateResponse&) {},
        [end](absl::Status status) { *end = std::move(status); });
    Until([&] { return end->has_value(); }, limit);
    return *end;
  }
  // Nobody waits for it.
  void BeginRotation() {
    v1::RotateRequest request;
    request.set_name("app/key");
    house_.keeper().Rotate(
        std::move(request), [](const v1::RotateResponse&) {}, [](const absl::Status&) {});
  }
  absl::StatusOr<v1::DisownResponse> Disown() {
    v1::DisownRequest request;
    request.set_name("app/key");
    auto answer = std::make_shared<std::optional<absl::StatusOr<v1::DisownResponse>>>();
    house_.keeper().Disown(request,
                           [answer](absl::StatusOr<v1::DisownResponse> r) { *answer = r; });
    Until([&] { return answer->has_value(); }, absl::Minutes(5));
    return answer->value_or(absl::DeadlineExceededError("no answer"));
  }
  size_t Alive() { return house_.provider->existing_keys().size(); }

  KeeperHouse house_;
};

class ChosenTest : public ClassTest {
 protected:
  ChosenTest() : ClassTest(Of(ProviderClass::kChosen)) {}
  void SetUp() override {
    ASSERT_TRUE(house_.Apply(Yaml()).ok());
    ASSERT_TRUE(Until([&] { return Key() != ""; }));
  }
};

TEST_F(ChosenTest, TheSecretIsOursAndTheOldOneEndsAfterItsGrace) {
  EXPECT_EQ(Key().size(), 43u);
  const std::string old = Key();
  ASSERT_EQ(Rotate(), absl::OkStatus());
  EXPECT_NE(Key(), old);
  EXPECT_TRUE(Works() && house_.provider->Works(old));
  house_.Advance(absl::Minutes(61));
  EXPECT_TRUE(Works());
  EXPECT_FALSE(house_.provider->Works(old));
  EXPECT_EQ(Alive(), 1u);
}

TEST_F(ChosenTest, AfterALostReplyTheSameSecretIsSentAgain) {
  for (const Kind kind : {Kind::kLoseReply, Kind::kLoseRequest, Kind::kDuplicateEffect}) {
    house_.provider->InjectNext(ProviderCall::kCreate, {kind, {}, {}});
    ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
    EXPECT_TRUE(Works());
    EXPECT_EQ(Alive(), 1u);
  }
}

TEST_F(ChosenTest, ARefusalAfterALostReplyDoesNotForgetTheSecret) {
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseReply, {}, {}});
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kRefuse, {}, {}});
  ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
  EXPECT_TRUE(Works());
  EXPECT_EQ(Alive(), 1u);
}

TEST_F(ChosenTest, ACrashWhileSendingEndsWithOneKey) {
  const std::string old = Key();
  BeginRotation();
  ASSERT_TRUE(Until([&] { return State() == "creating"; }));
  house_.Crash();
  house_.Advance(absl::Minutes(1));
  ASSERT_TRUE(house_.Start().ok());
  ASSERT_TRUE(Until([&] { return State() == "" && Key() != old; }));
  EXPECT_TRUE(Works());
  EXPECT_EQ(Alive(), 1u);
}

class DualSlotTest : public ClassTest {
 protected:
  DualSlotTest() : ClassTest(Of(ProviderClass::kDualSlot)) {}
  void SetUp() override {
    ASSERT_TRUE(house_.Apply(Yaml("exclusive: true,")).ok());
    ASSERT_TRUE(Until([&] { return Key() != ""; }));
  }
};

TEST_F(DualSlotTest, TakesTheSlotThatIsNotInUseAndEmptiesTheOldOneAfterItsGrace) {
  std::vector<std::string> slots;
  for (int i = 0; i < 4; ++i) {
    const std::string old = Key();
    ASSERT_EQ(Rotate(), absl::OkStatus());
    EXPECT_TRUE(Works() && house_.provider->Works(old));
    ASSERT_TRUE(Until([&] { return State() == ""; }));
    EXPECT_TRUE(Works());
    EXPECT_FALSE(house_.provider->Works(old));
  }
}

TEST_F(DualSlotTest, AfterALostReplyTheSlotTells) {
  for (const Kind kind : {Kind::kLoseReply, Kind::kLoseRequest, Kind::kUnreadable}) {
    const std::string old = Key();
    house_.provider->InjectNext(ProviderCall::kCreate, {kind, {}, {}});
    const int calls = house_.provider->calls(ProviderCall::kCreate);
    ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
    EXPECT_NE(Key(), old);
    EXPECT_TRUE(Works());
    EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate),
              calls + (kind == Kind::kLoseRequest ? 2 : 1));
  }
}

TEST_F(DualSlotTest, DisownDoesNotSayThatAllIsWell) {
  EXPECT_EQ(base::ReasonOf(Disown().status()), "NOT_POSSIBLE_NOW") << Disown().status();
}

TEST_F(DualSlotTest, ASlotInUseThatSomebodyRegeneratesIsReadAgain) {
  const std::string old = Key();
  house_.provider->RegenerateSlot("key2");
  EXPECT_FALSE(Works());
  house_.Advance(absl::Minutes(6));
  EXPECT_NE(Key(), old);
  EXPECT_TRUE(Works());
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), 1) << "nothing was regenerated for it";
}

class RollTest : public ClassTest, public testing::WithParamInterface<bool> {
 protected:
  static KeeperHouse::Options Options() {
    KeeperHouse::Options options = Of(ProviderClass::kRoll);
    options.provider.roll_renames = GetParam();
    options.provider.traits.can_list = GetParam();
    return options;
  }
  RollTest() : ClassTest(Options()) {}
  void SetUp() override {
    ASSERT_TRUE(house_.Apply(Yaml("allow_gap: true,", "30d")).ok());
    const auto [id, value] = house_.provider->MakeKeyByHand();
    ASSERT_TRUE(house_.Put("app/key", std::string(value.Primary()->Reveal()), id).ok());
    ASSERT_TRUE(Works());
  }
};

TEST_P(RollTest, ReplacesTheKeyInPlace) {
  const std::string old = Key();
  ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
  EXPECT_TRUE(Works());
  EXPECT_FALSE(house_.provider->Works(old));
  EXPECT_EQ(Alive(), 1u);
}

TEST_P(RollTest, TouchesNoKeyBeforeSomebodyAsks) {
  KeeperHouse house(Options());
  const auto [id, value] = house.provider->MakeKeyByHand();
  ASSERT_TRUE(house
                  .Apply("providers: { p: { recipe: fake, manager: m } }\n"
                         "credentials:\n  m: { static: {} }\n  app/key: { provider: p, allow_gap: "
                         "true, rotate: { every: 30d } }\n")
                  .ok());
  ASSERT_TRUE(house.Put("m", "admin").ok());
  house.Advance(absl::Hours(48));
  EXPECT_TRUE(house.provider->Works(std::string(value.Primary()->Reveal())));
  EXPECT_EQ(house.provider->calls(ProviderCall::kCreate), 0);
}

TEST_P(RollTest, AfterALostReplyItRollsAgain) {
  for (const Kind kind : {Kind::kLoseReply, Kind::kLoseRequest}) {
    house_.provider->InjectNext(ProviderCall::kCreate, {kind, {}, {}});
    ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
    EXPECT_TRUE(Works());
    EXPECT_EQ(Alive(), 1u);
  }
}

TEST_P(RollTest, WhoeverAsksDuringTheRollWaitsForTheNewKey) {
  const std::string old = Key();
  BeginRotation();
  ASSERT_TRUE(Until([&] { return State() == "creating"; }));
  EXPECT_LE(house_.sink.versions.at("app/key").hard, house_.clock.BootNow());
  std::optional<absl::Status> answer;
  std::string seen;
  house_.keeper().EnsureFresh("app/key", absl::Seconds(10), [&](absl::Status status) {
    answer = std::move(status);
    seen = Key();
  });
  ASSERT_TRUE(Until([&] { return answer.has_value(); }, absl::Seconds(10)));
  EXPECT_TRUE(answer->ok()) << *answer;
  EXPECT_NE(seen, old);
  EXPECT_GT(house_.sink.versions.at("app/key").hard, house_.clock.BootNow());
}

TEST_P(RollTest, ADeadKeyIsNotHandedOutWhileTheNewOneCannotBeStored) {
  const std::string old = Key();
  BeginRotation();
  ASSERT_TRUE(Until([&] { return State() == "creating"; }));
  EXPECT_GT(house_.sink.versions.at("app/key").expires, house_.clock.BootNow());
  house_.store.faults().FailAllCommits(fakes::CommitFault::kDiskFull);
  house_.Advance(absl::Minutes(1));
  EXPECT_FALSE(house_.provider->Works(old));
  EXPECT_LE(house_.sink.versions.at("app/key").expires, house_.clock.BootNow());
  house_.store.faults().FailAllCommits(std::nullopt);
  ASSERT_TRUE(Until([&] { return Key() != old; }, absl::Minutes(1)));
  EXPECT_TRUE(Works());
  EXPECT_GT(house_.sink.versions.at("app/key").expires, house_.clock.BootNow());
}

TEST_P(RollTest, NobodyWaitsLongerThanFiveSeconds) {
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseReply, {}, {}});
  BeginRotation();
  ASSERT_TRUE(Until([&] { return State() == "creating"; }));
  std::optional<absl::Status> answer;
  house_.keeper().EnsureFresh("app/key", absl::Seconds(60),
                              [&](absl::Status status) { answer = std::move(status); });
  house_.Advance(absl::Milliseconds(5100));
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*answer)) << *answer;
}

TEST_P(RollTest, NeedsToBeToldThatAGapIsAccepted) {
  const absl::Status refused = house_.Apply(Yaml());
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_NE(refused.message().find("allow_gap: true"), absl::string_view::npos) << refused;
}

INSTANTIATE_TEST_SUITE_P(Id, RollTest, testing::Bool(), [](const auto& instance) {
  return instance.param ? std::string("Renamed") : std::string("Kept");
});

class SelfRollTest : public ClassTest {
 protected:
  static KeeperHouse::Options Options() {
    KeeperHouse::Options options = Of(ProviderClass::kSelfRoll);
    options.recovery.traits.provider_class = ProviderClass::kTagged;
    options.recovery.key_prefix = "recovered-";
    return options;
  }
  SelfRollTest() : ClassTest(Options()) {}
  void Use(const std::string& choice) {
    ASSERT_TRUE(house_.Apply(Yaml(absl::StrCat("allow_gap: true, ", choice), "30d")).ok());
    const auto [id, value] = house_.provider->MakeKeyByHand();
    ASSERT_TRUE(house_.Put("app/key", std::string(value.Primary()->Reveal()), id).ok());
  }
};

TEST_F(SelfRollTest, TheKeyReplacesItself) {
  Use("accept_loss: true,");
  const std::string old = Key();
  ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
  EXPECT_TRUE(Works());
  EXPECT_FALSE(house_.provider->Works(old));
}

TEST_F(SelfRollTest, TheFirstKeyNeedsNoId) {
  ASSERT_TRUE(house_.Apply(Yaml("allow_gap: true, accept_loss: true,", "30d")).ok());
  const auto [id, value] = house_.provider->MakeKeyByHand();
  ASSERT_TRUE(house_.Put("app/key", std::string(value.Primary()->Reveal())).ok());
  ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
  EXPECT_TRUE(Works());
}

TEST_F(SelfRollTest, AfterALostRequestItIsSentOnceMore) {
  Use("accept_loss: true,");
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseRequest, {}, {}});
  ASSERT_EQ(Rotate(/*until_done=*/true), absl::OkStatus());
  EXPECT_TRUE(Works());
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), 2);
}

TEST_F(SelfRollTest, AfterALostReplyTheDeadKeyIsNotUsedAgainAndAPersonIsAsked) {
  Use("accept_loss: true,");
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseReply, {}, {}});
  const auto end = Rotate(/*until_done=*/true);
  ASSERT_TRUE(end.has_value());
  EXPECT_FALSE(end->ok());
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), 1)
      << "using a replaced key again ends the one that replaced it";
  EXPECT_EQ(Key(), "");
  EXPECT_EQ(base::ReasonOf(house_.sink.versions.at("app/key").unavailable), "NO_VALUE_YET");
  EXPECT_GE(house_.log.Failures("ROTATION_FAILED"), 1);
  house_.Advance(absl::Hours(5));
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), 1);
  const auto [id, value] = house_.provider->MakeKeyByHand();
  ASSERT_TRUE(house_.Put("app/key", std::string(value.Primary()->Reveal()), id).ok());
  EXPECT_TRUE(Works());
  EXPECT_EQ(house_.log.Resolved("ROTATION_FAILED"), 1);
}

TEST_F(SelfRollTest, ALossIsReportedUntilAPersonHasPutTheNextKeyWhateverProcessFoundItOut) {
  Use("accept_loss: true,");
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseReply, {}, {}});
  Rotate(/*until_done=*/true);
  const std::string told = absl::StrJoin(house_.log.lines(), "\n");
  EXPECT_NE(told.find("keyturn put app/key"), std::string::npos) << told;
  EXPECT_EQ(told.find("next_retry"), std::string::npos) << "nothing is tried by itself: " << told;
  house_.Crash();
  house_.log.Clear();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(house_.log.Failures("ROTATION_FAILED"), 1);
  const auto [id, value] = house_.provider->MakeKeyByHand();
  ASSERT_TRUE(house_.Put("app/key", std::string(value.Primary()->Reveal()), id).ok());
  EXPECT_EQ(house_.log.Resolved("ROTATION_FAILED"), 1);
  house_.Crash();
  house_.log.Clear();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(house_.log.Failures("ROTATION_FAILED"), 0);
}

TEST_F(SelfRollTest, AfterALostReplyTheRecoveryProviderMakesTheNext) {
  Use("recovery: r,");
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseReply, {}, {}});
  Rotate(/*until_done=*/true);
  ASSERT_TRUE(Until([&] { return Key().rfind("recovered-", 0) == 0; }, absl::Minutes(10)));
  EXPECT_TRUE(house_.recovery->Works(Key()));
  house_.Advance(absl::Hours(3));  // and no sweep takes it for an orphan
  EXPECT_TRUE(house_.recovery->Works(Key()));
}

TEST_F(SelfRollTest, AProviderThatACredentialRecoversWithIsNotDeleted) {
  Use("recovery: r,");
  const absl::Status refused = house_.Delete("provider", "r");
  EXPECT_EQ(base::ReasonOf(refused), "NOT_POSSIBLE_NOW") << refused;
  EXPECT_NE(refused.message().find("app/key"), absl::string_view::npos) << refused;
}

TEST_F(SelfRollTest, DisownDoesNotSayThatAllIsWell) {
  Use("accept_loss: true,");
  EXPECT_EQ(base::ReasonOf(Disown().status()), "NOT_POSSIBLE_NOW") << Disown().status();
}

TEST_F(SelfRollTest, NeedsToKnowWhatToDoAboutALoss) {
  EXPECT_TRUE(absl::IsInvalidArgument(house_.Apply(Yaml("allow_gap: true,"))));
  EXPECT_TRUE(absl::IsInvalidArgument(
      house_.Apply(Yaml("allow_gap: true, accept_loss: true, recovery: r,"))));
}

class BornDeadTest : public ClassTest {
 protected:
  static KeeperHouse::Options Options() {
    KeeperHouse::Options options;
    options.provider.traits.provider_class = ProviderClass::kTagged;
    options.provider.key_lifetime = -absl::Hours(1);
    return options;
  }
  BornDeadTest() : ClassTest(Options()) {}
};

TEST_F(BornDeadTest, AKeyThatHasExpiredAlreadyIsNotHandedOutAndNotLeftBehind) {
  ASSERT_TRUE(house_.Apply(Yaml()).ok());
  ASSERT_TRUE(Until([&] { return house_.log.Failures("ROTATION_FAILED") >= 1; }));
  EXPECT_EQ(house_.Describe("app/key")->summary().current_version(), 0u);
  EXPECT_GE(house_.provider->keys().size(), 1u);
  EXPECT_EQ(Alive(), 0u);
}

class ManualTest : public ClassTest {
 protected:
  static KeeperHouse::Options Options() {
    KeeperHouse::Options options = Of(ProviderClass::kManual);
    options.provider.traits.value_prefix = "fake-";
    options.provider.traits.value_min_length = 8;
    return options;
  }
  ManualTest() : ClassTest(Options()) {}
  void SetUp() override {
    ASSERT_TRUE(house_.Apply(Yaml("", "90d")).ok());
    ASSERT_EQ(Bring(), absl::OkStatus());
  }
  absl::Status Bring(std::string value = "") {
    std::string id = "id";
    if (value.empty()) {
      const auto made = house_.provider->MakeKeyByHand();
      id = made.first;
      value = std::string(made.second.Primary()->Reveal());
    }
    return Store(value, id);
  }
  absl::Status Store(const std::string& value, const std::string& id) {
    v1::PutRequest request;
    request.set_name("app/key");
    request.add_fields()->set_value(value);
    request.set_provider_key_id(id);
    auto end = std::make_shared<std::optional<absl::Status>>();
    house_.keeper().Put(std::move(request), [end](absl::StatusOr<v1::PutResponse> response) {
      *end = response.status();
    });
    Until([&] { return end->has_value(); }, absl::Minutes(5));
    return end->value_or(absl::DeadlineExceededError("no answer"));
  }
};

TEST_F(ManualTest, TheNextKeyIsTriedThenHandedOutAndTheOldOneDeactivatedAfterItsGrace) {
  const std::string old = Key();
  ASSERT_TRUE(Works());
  ASSERT_EQ(Bring(), absl::OkStatus());
  EXPECT_NE(Key(), old);
  EXPECT_TRUE(Works() && house_.provider->Works(old));
  house_.Advance(absl::Minutes(61));
  EXPECT_FALSE(house_.provider->Works(old));
  EXPECT_TRUE(Works());
}

TEST_F(ManualTest, AValueTheProviderRejectsChangesNothing) {
  const std::string old = Key();
  const absl::Status rejected = Store("fake-no-such-key", "id-99");
  EXPECT_TRUE(absl::IsInvalidArgument(rejected)) << rejected;
  EXPECT_EQ(base::ReasonOf(rejected), "VERIFY_FAILED");
  EXPECT_EQ(Key(), old);
  EXPECT_TRUE(Works());
  EXPECT_EQ(State(), "");
}

TEST_F(ManualTest, OneValueIsTriedAtATime) {
  const auto made = house_.provider->MakeKeyByHand();
  const std::string value(made.second.Primary()->Reveal());
  v1::PutRequest request;
  request.set_name("app/key");
  request.set_provider_key_id(made.first);
  request.add_fields()->set_value(value);
  house_.keeper().Put(std::move(request), [](const absl::StatusOr<v1::PutResponse>&) {});
  EXPECT_EQ(base::ReasonOf(Bring()), "ROTATION_UNDER_WAY");
  ASSERT_TRUE(Until([&] { return Key() == value; }));
}

TEST_F(ManualTest, OddValuesAreRefusedBeforeAnythingIsAsked) {
  const int asked = house_.provider->calls(ProviderCall::kVerify);
  for (const char* odd : {"Bearer fake-key-1", "fake key 1", "fake-key-1\n", "fake-...xyz",
                          "fake-****7890", "sk-other-key-1", "fake-1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Store(odd, "id"))) << odd;
  }
  EXPECT_EQ(house_.provider->calls(ProviderCall::kVerify), asked);
  EXPECT_TRUE(absl::IsAlreadyExists(Store(Key(), "id")));
}

TEST_F(ManualTest, RemindsInGoodTimeAndStopsOnceTheKeyIsThere) {
  house_.Advance(absl::Hours(24 * 59));
  EXPECT_EQ(house_.log.Failures("MANUAL_ROTATION_DUE"), 0);
  house_.Advance(absl::Hours(24 * 2));
  EXPECT_EQ(house_.log.Failures("MANUAL_ROTATION_DUE"), 1);
  EXPECT_EQ(house_.failures().Find("app/key")->failure.runway, absl::InfiniteDuration())
      << "a key that does not expire goes on working when it is due";
  house_.Advance(
      absl::Hours(24 * 30));  // day 91: 30, 14, 7, 3, 1 and 0 days before, one a day after
  EXPECT_GE(house_.log.Failures("MANUAL_ROTATION_DUE"), 6);
  EXPECT_LE(house_.log.Failures("MANUAL_ROTATION_DUE"), 8);
  ASSERT_EQ(Bring(), absl::OkStatus());
  EXPECT_EQ(house_.log.Resolved("MANUAL_ROTATION_DUE"), 1);
  const int before = house_.log.Failures("MANUAL_ROTATION_DUE");
  house_.Advance(absl::Hours(24 * 30));
  EXPECT_EQ(house_.log.Failures("MANUAL_ROTATION_DUE"), before);
}

TEST_F(ManualTest, DisownDoesNotSayThatAllIsWell) {
  const auto disowned = Disown();
  EXPECT_EQ(base::ReasonOf(disowned.status()), "NOT_POSSIBLE_NOW") << disowned.status();
}

TEST_F(ManualTest, RotateSaysWhoHasToAct) {
  const auto end = Rotate();
  ASSERT_TRUE(end.has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(*end));
  EXPECT_NE(end->message().find("keyturn put app/key"), absl::string_view::npos) << *end;
}

class UndoTest : public ClassTest {
 protected:
  static KeeperHouse::Options Options() {
    KeeperHouse::Options options;
    options.provider.traits.provider_class = ProviderClass::kUntagged;
    return options;
  }
  UndoTest() : ClassTest(Options()) {}
  void SetUp() override {
    ASSERT_TRUE(house_.Apply(Yaml()).ok());
    ASSERT_TRUE(Until([&] { return Key() != "" && State() == ""; }));
  }
  absl::StatusOr<v1::UndoResponse> Undo() {
    v1::UndoRequest request;
    request.set_name("app/key");
    absl::StatusOr<v1::UndoResponse> answer = absl::UnknownError("no answer");
    house_.keeper().Undo(request, [&](absl::StatusOr<v1::UndoResponse> r) { answer = r; });
    house_.Advance(absl::ZeroDuration());
    return answer;
  }
};

TEST_F(UndoTest, BringsTheRetiringKeyBackAndGivesTheOtherItsGrace) {
  const std::string old = Key();
  ASSERT_EQ(Rotate(), absl::OkStatus());
  const std::string replaced = Key();
  house_.Advance(absl::Minutes(50));
  const auto undone = Undo();
  ASSERT_TRUE(undone.ok()) << undone.status();
  EXPECT_EQ(Key(), old);
  house_.Advance(absl::Minutes(50));
  EXPECT_TRUE(house_.provider->Works(old) && house_.provider->Works(replaced));
  house_.Advance(absl::Minutes(20));
  EXPECT_TRUE(house_.provider->Works(old));
  EXPECT_FALSE(house_.provider->Works(replaced));
  EXPECT_EQ(Alive(), 1u);
}

TEST_F(UndoTest, SurvivesACrashAndRefusesOnceTheOldKeyIsGone) {
  const std::string old = Key();
  ASSERT_EQ(Rotate(), absl::OkStatus());
  ASSERT_TRUE(Undo().ok());
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(Key(), old);
  ASSERT_TRUE(Until([&] { return State() == ""; }));
  EXPECT_TRUE(absl::IsFailedPrecondition(Undo().status()));
  EXPECT_EQ(base::ReasonOf(Undo().status()), "NOTHING_TO_UNDO");
}

TEST_F(UndoTest, DisownEndsTheDoubtAboutAForeignKey) {
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseRequest, {}, {}});
  BeginRotation();
  ASSERT_TRUE(Until([&] { return State() == "creating"; }));
  const std::string foreign = house_.provider->AddForeignKey();
  ASSERT_TRUE(Until([&] { return State() == "operator"; }));
  EXPECT_EQ(house_.log.Failures("ROTATION_AMBIGUOUS"), 1);
  const auto disowned = Disown();
  ASSERT_TRUE(disowned.ok()) << disowned.status();
  ASSERT_EQ(disowned->key_ids_size(), 1);
  EXPECT_EQ(disowned->key_ids(0), foreign);
  EXPECT_EQ(house_.log.Resolved("ROTATION_AMBIGUOUS"), 1);
  const std::string old = Key();
  ASSERT_TRUE(Until([&] { return Key() != old && State() == ""; }));
  house_.Advance(absl::Hours(3));
  EXPECT_EQ(Alive(), 2u) << "the foreign key was not left alone";
}

TEST_F(UndoTest, DisownedKeysAreNotReportedAgain) {
  house_.provider->AddForeignKey();
  house_.Advance(absl::Hours(2));
  EXPECT_GE(house_.log.Failures("UNKNOWN_KEY"), 1);
  ASSERT_TRUE(Disown().ok());
  EXPECT_EQ(house_.log.Resolved("UNKNOWN_KEY"), 1);
  house_.log.Clear();
  house_.Advance(absl::Hours(5));
  EXPECT_EQ(house_.log.Failures("UNKNOWN_KEY"), 0);
  EXPECT_EQ(Disown()->key_ids_size(), 0);
}

}  // namespace
}  // namespace keyturn::lifecycle

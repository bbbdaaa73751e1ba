// SPDX-License-Identifier: Apache-2.0
// Single transitions that deserve a name. That they hold together is shown by tests/model.
#include "agent/lifecycle/rotation/state_machine.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/fakes/crypto_ready.h"

namespace keyturn::lifecycle::rotation {
namespace {

using providers::CallResult;
using providers::ListedKey;
using providers::Outcome;
using providers::ProviderClass;

const absl::Time kNow = absl::FromUnixSeconds(1'767'614'400);

CallResult Result(Outcome outcome, absl::Duration retry_after = absl::ZeroDuration()) {
  return {outcome, "cause", 0, retry_after};
}
ListedKey Listed(const std::string& id, const std::string& tag = "") {
  return {id, tag, {}, false};
}
ListReplied List(std::vector<ListedKey> keys) { return {Result(Outcome::kOk), std::move(keys)}; }

class StateMachineTest : public testing::Test {
 protected:
  StateMachineTest() {
    facts_.now = kNow;
    facts_.traits.provider_class = ProviderClass::kTagged;
    facts_.traits.settle = absl::Seconds(30);
    facts_.traits.propagation = absl::Seconds(10);
    facts_.grace = absl::Hours(1);
    facts_.known_ids = {"old"};
    row_ = NewAttempt("abcdefghijklmnop", "c", 1, "agent", 64);
    row_.old_key_id = "old";
    row_.old_version = 1;
    facts_.our_tags = {row_.tag};
  }
  Step In(State state, const Event& event) {
    row_.state = std::string(StateName(state));
    return Advance(row_, event, facts_);
  }
  static State After(const Step& step) { return ParseState(step.record.state); }
  static Ending EndOf(const Step& step) { return std::get<Close>(step.effect).ending; }

  Facts facts_;
  store::RotationRecord row_;
};

TEST_F(StateMachineTest, StatesHaveNamesThatReadBack) {
  for (int i = 0; i <= static_cast<int>(State::kProving); ++i) {
    EXPECT_EQ(ParseState(StateName(static_cast<State>(i))), static_cast<State>(i));
  }
}

TEST_F(StateMachineTest, TheTagFitsAndKeepsItsRandomPart) {
  EXPECT_EQ(row_.tag, "kt-agent-abcdefghijkl-1");
  const auto brief = NewAttempt("abcdefghijklmnop", "c", 123, "agent", 20);
  EXPECT_EQ(brief.tag, "kt-agent-abcdefghijk");
}

TEST_F(StateMachineTest, TheIntentIsJournaledBeforeCreate) {
  const Step step = In(State::kChecking, List({Listed("old")}));
  EXPECT_TRUE(step.journal);
  EXPECT_EQ(After(step), State::kCreating);
  EXPECT_TRUE(std::holds_alternative<CallCreate>(step.effect));
  EXPECT_EQ(step.record.seen_before, std::vector<std::string>{"old"});
  EXPECT_EQ(step.record.sent_at, kNow);
}

TEST_F(StateMachineTest, NoRoomIsBlockedAndNothingIsDeleted) {
  facts_.traits.key_limit = 2;
  const Step step = In(State::kChecking, List({Listed("old"), Listed("theirs")}));
  EXPECT_EQ(EndOf(step), Ending::kBlocked);
}

TEST_F(StateMachineTest, AYoungKeyCountsBeforeItIsListed) {
  facts_.traits.key_limit = 2;
  facts_.young_ids = {"young"};
  EXPECT_EQ(EndOf(In(State::kChecking, List({Listed("old")}))), Ending::kBlocked);
  EXPECT_EQ(EndOf(In(State::kChecking, List({Listed("old"), Listed("young")}))), Ending::kBlocked);
  facts_.traits.key_limit = 3;
  EXPECT_EQ(After(In(State::kChecking, List({Listed("old"), Listed("young")}))), State::kCreating);
}

TEST_F(StateMachineTest, ASweepCreatesNothing) {
  facts_.sweep_only = true;
  EXPECT_EQ(EndOf(In(State::kChecking, List({Listed("old")}))), Ending::kSwept);
}

TEST_F(StateMachineTest, EachOutcomeOfCreateLeadsSomewhereElse) {
  const auto created = [this](Outcome outcome) {
    return In(State::kCreating, CreateReplied{Result(outcome), std::nullopt});
  };
  EXPECT_EQ(EndOf(created(Outcome::kRejected)), Ending::kRefused);
  EXPECT_EQ(EndOf(created(Outcome::kLimited)), Ending::kBlocked);
  EXPECT_EQ(EndOf(created(Outcome::kTransient)), Ending::kUnavailable);
  EXPECT_EQ(After(created(Outcome::kUnknown)), State::kReconcile);
  EXPECT_EQ(After(created(Outcome::kOk)), State::kReconcile) << "success without a key";
}

TEST_F(StateMachineTest, AnIdThatWasThereBeforeIsNotWhatWeMade) {
  row_.seen_before = {"theirs"};
  for (const char* id : {"old", "theirs"}) {
    CreateReplied replied{Result(Outcome::kOk), providers::MintedKey{id, {}, std::nullopt}};
    EXPECT_EQ(After(In(State::kCreating, replied)), State::kReconcile) << id;
  }
}

TEST_F(StateMachineTest, AKeyThatIsBornDeadCountsAsUnknown) {
  const auto created = [this](ProviderClass provider_class, absl::Time expires_at) {
    facts_.traits.provider_class = provider_class;
    CreateReplied replied{Result(Outcome::kOk), providers::MintedKey{"new", {}, expires_at}};
    return After(In(State::kCreating, replied));
  };
  for (const auto c : {ProviderClass::kTagged, ProviderClass::kUntagged, ProviderClass::kListed,
                       ProviderClass::kChosen, ProviderClass::kRoll, ProviderClass::kSelfRoll}) {
    EXPECT_EQ(created(c, kNow), State::kReconcile) << ProviderClassName(c);
    EXPECT_EQ(created(c, kNow - absl::Hours(1)), State::kReconcile) << ProviderClassName(c);
    EXPECT_NE(created(c, kNow + absl::Seconds(1)), State::kReconcile) << ProviderClassName(c);
  }
}

TEST_F(StateMachineTest, AfterARestartTheSettleTimeBeginsAnew) {
  row_.sent_at = kNow - absl::Hours(5);
  const Step step = In(State::kCreating, Restarted{});
  EXPECT_EQ(After(step), State::kReconcile);
  EXPECT_EQ(step.record.settle_until, kNow + absl::Seconds(30));
  EXPECT_TRUE(step.journal);
}

TEST_F(StateMachineTest, ARepliesOfAnotherStateChangesNothing) {
  for (State state : {State::kMinted, State::kRetiring, State::kRevoking, State::kReconcile}) {
    CreateReplied late{Result(Outcome::kOk), providers::MintedKey{"new", {}, std::nullopt}};
    const Step step = In(state, late);
    EXPECT_FALSE(step.journal) << StateName(state);
    EXPECT_EQ(After(step), state);
    EXPECT_EQ(step.version, VersionChange::kNone);
  }
}

TEST_F(StateMachineTest, NothingListedTwiceIsNothingCreated) {
  Step step = In(State::kReconcile, List({Listed("old")}));
  EXPECT_TRUE(std::holds_alternative<Wait>(step.effect));
  row_ = step.record;
  step = In(State::kReconcile, List({Listed("old")}));
  EXPECT_EQ(EndOf(step), Ending::kNothingCreated);
}

TEST_F(StateMachineTest, AKeyThatAppearsBetweenTheTwoListsIsSeen) {
  row_ = In(State::kReconcile, List({Listed("old")})).record;
  const Step step = In(State::kReconcile, List({Listed("old"), Listed("new", row_.tag)}));
  EXPECT_EQ(After(step), State::kAborting);
  EXPECT_EQ(std::get<CallRevoke>(step.effect).key_id, "new");
}

TEST_F(StateMachineTest, AListedKeyIsAdoptedOnlyIfItIsTheOnlyOne) {
  facts_.traits.provider_class = ProviderClass::kListed;
  facts_.exclusive = true;
  ListedKey fresh{"new", "", base::CredentialValue::Of(base::Secret("v"))};
  EXPECT_EQ(After(In(State::kReconcile, List({Listed("old"), fresh}))), State::kMinted);
  ListedKey other = fresh;
  other.id = "other";
  EXPECT_EQ(After(In(State::kReconcile, List({fresh, other}))), State::kAborting);
  facts_.exclusive = false;
  const Step step = In(State::kReconcile, List({Listed("old"), fresh}));
  EXPECT_EQ(After(step), State::kOperator);
  EXPECT_EQ(step.alert->code, observe::FailureCode::kRotationAmbiguous);
}

TEST_F(StateMachineTest, AKeyThatIsRejectedGetsItsTimeToSpreadAndNoMore) {
  row_.new_key_id = "new";
  row_.verify_until = kNow + absl::Milliseconds(400);
  Step step = In(State::kMinted, VerifyReplied{Result(Outcome::kRejected)});
  EXPECT_EQ(After(step), State::kMinted);
  EXPECT_EQ(std::get<Wait>(step.effect).until, row_.verify_until);
  facts_.now = row_.verify_until;
  step = In(State::kMinted, VerifyReplied{Result(Outcome::kRejected)});
  EXPECT_EQ(After(step), State::kAborting);
  EXPECT_EQ(step.version, VersionChange::kDropNew);
  // Anything but a rejection says nothing about the key.
  step = In(State::kMinted, VerifyReplied{Result(Outcome::kUnknown)});
  EXPECT_EQ(After(step), State::kMinted);
  EXPECT_EQ(step.alert->code, observe::FailureCode::kVerifyFailed);
}

TEST_F(StateMachineTest, TheGraceHoldsByEveryClock) {
  row_.grace_until = kNow - absl::Hours(1);
  Step step = In(State::kRetiring, Due{});
  EXPECT_EQ(After(step), State::kRetiring);
  EXPECT_GT(std::get<Wait>(step.effect).until, kNow);
  facts_.grace_over = true;
  step = In(State::kRetiring, Due{});
  EXPECT_EQ(After(step), State::kRevoking);
  EXPECT_TRUE(step.journal) << "the intent to revoke comes first";
  EXPECT_EQ(std::get<CallRevoke>(step.effect).key_id, "old");
}

TEST_F(StateMachineTest, AKeyIsGoneWhenTheListSaysSo) {
  EXPECT_TRUE(std::holds_alternative<CallList>(
      In(State::kRevoking, RevokeReplied{Result(Outcome::kOk)}).effect));
  const Step still = In(State::kRevoking, List({Listed("old")}));
  EXPECT_TRUE(std::holds_alternative<Wait>(still.effect));
  EXPECT_EQ(still.alert->cause, "still_listed");
  const Step gone = In(State::kRevoking, List({}));
  EXPECT_EQ(gone.version, VersionChange::kRevokeOld);
  EXPECT_EQ(EndOf(gone), Ending::kDone);
  EXPECT_EQ(In(State::kRevoking, ListReplied{Result(Outcome::kTransient), {}}).version,
            VersionChange::kNone)
      << "an empty list that could not be read";
}

TEST_F(StateMachineTest, ADeletedKeyThatStillWorksIsDeletedAgain) {
  facts_.traits.cached_for = absl::Minutes(10);
  EXPECT_EQ(After(In(State::kRevoking, List({}))), State::kDying);
  row_.dead_by = kNow;
  const Step step = In(State::kDying, VerifyReplied{Result(Outcome::kOk)});
  EXPECT_EQ(After(step), State::kRevoking);
  EXPECT_EQ(step.alert->cause, "still_accepted");
  EXPECT_EQ(EndOf(In(State::kDying, VerifyReplied{Result(Outcome::kRejected)})), Ending::kDone);
}

TEST_F(StateMachineTest, RetryAfterIsAFloor) {
  facts_.retry_wait = absl::Seconds(2);
  const Step step =
      In(State::kReconcile, ListReplied{Result(Outcome::kTransient, absl::Minutes(3)), {}});
  EXPECT_EQ(std::get<Wait>(step.effect).until, kNow + absl::Minutes(3));
}

TEST_F(StateMachineTest, OrphansThatCannotBeDeletedPutTheRotationOff) {
  row_.abort_ids = {"orphan"};
  Step step;
  int lists = 0;
  do {
    step = In(State::kSweeping, List({Listed("old"), Listed("orphan", row_.tag)}));
    row_ = step.record;
    ASSERT_LT(++lists, 20);
  } while (!std::holds_alternative<Close>(step.effect));
  EXPECT_EQ(EndOf(step), Ending::kUnavailable);
  EXPECT_EQ(lists, 4);
}

TEST_F(StateMachineTest, EveryJournaledStepRaisesTheFence) {
  const uint64_t before = row_.fence;
  EXPECT_EQ(In(State::kChecking, List({Listed("old")})).record.fence, before + 1);
}

}  // namespace
}  // namespace keyturn::lifecycle::rotation

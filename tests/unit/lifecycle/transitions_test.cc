// SPDX-License-Identifier: Apache-2.0
// Any class, in any state, takes any event under any facts: what must hold of the one step that
// comes of it. The models walk through what can happen; here nothing is asked to make sense.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/rotation/state_machine.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::lifecycle::rotation {
namespace {

using providers::ListedKey;
using providers::Outcome;
using providers::ProviderClass;

constexpr int kSteps = 80'000;
const absl::Time kNow = absl::FromUnixSeconds(1'767'614'400);

base::CredentialValue Value(const std::string& text) {
  return text.empty() ? base::CredentialValue() : base::CredentialValue::Of(base::Secret(text));
}

struct Sample {
  store::RotationRecord row;
  State state = State::kChecking;
  Facts facts;
  Event event;
  std::string text;  // for whoever has to find out
};

class Samples {
 public:
  explicit Samples(uint32_t seed) : random_(seed) {}
  Sample Next() {
    Sample sample;
    sample.state = static_cast<State>(Up(static_cast<int>(State::kProving)));
    sample.facts = AnyFacts();
    sample.row = AnyRow(sample);
    sample.event = AnyEvent();
    sample.text = absl::StrCat(StateName(sample.state), ", class ",
                               ProviderClassName(sample.facts.traits.provider_class), ", event ",
                               sample.event.index());
    return sample;
  }

 private:
  int Up(int most) { return std::uniform_int_distribution<int>(0, most)(random_); }
  bool Maybe() { return Up(1) == 1; }
  absl::Time Around() { return kNow + absl::Minutes(Up(2) - 1); }
  template <class T>
  T OneOf(std::vector<T> of) {
    return of[static_cast<size_t>(Up(static_cast<int>(of.size()) - 1))];
  }

  Facts AnyFacts() {
    Facts facts;
    facts.now = kNow;
    providers::Traits& traits = facts.traits;
    traits.provider_class = static_cast<ProviderClass>(Up(7));
    traits.can_list = Maybe();
    traits.can_verify = Maybe();
    traits.can_revoke = Maybe();
    traits.key_limit = static_cast<uint32_t>(Up(3));
    traits.settle = absl::Seconds(30);
    traits.propagation = absl::Seconds(10);
    traits.cached_for = absl::Minutes(10 * Up(1));
    traits.expires_by_itself = absl::Hours(Up(1));
    traits.slots = OneOf<std::vector<std::string>>({{}, {"old"}, {"old", "slot"}});
    facts.exclusive = Maybe();
    facts.allow_gap = Maybe();
    facts.disown = Maybe();
    facts.sweep_only = Maybe();
    facts.known_ids = OneOf<std::set<std::string>>({{"old", "other"}, {"old", "other", "slot"}});
    facts.our_ids = {"ended"};
    facts.our_tags = {"our-tag"};
    facts.disowned_ids = {"theirs"};
    facts.current_value = Value(OneOf<std::string>({"", "old-secret"}));
    facts.old_value = Value(OneOf<std::string>({"", "old-secret"}));
    facts.fresh_secret = base::Secret("fresh-secret");
    facts.grace = absl::Hours(1);
    facts.grace_over = Maybe();
    facts.consumers_hold = Maybe();
    facts.grace_max_over = Maybe();
    if (Maybe()) facts.grace_max = absl::Hours(2);
    if (Maybe()) facts.young_ids = {"young"};
    return facts;
  }

  store::RotationRecord AnyRow(const Sample& sample) {
    store::RotationRecord row = NewAttempt("abcdefghijklmnop", "c", 1, "agent", 64);
    row.state = std::string(StateName(sample.state));
    row.tag = "our-tag";
    row.last_error = "earlier_cause";
    row.old_version = static_cast<uint64_t>(Up(1));
    row.old_key_id = row.old_version == 0 ? "" : OneOf<std::string>({"", "old"});
    row.creates = static_cast<uint32_t>(Up(4));
    row.clean_lists = static_cast<uint32_t>(Up(2));
    row.step_failures = static_cast<uint32_t>(Up(5));
    row.settle_until = Around();
    row.verify_until = Around();
    row.dead_by = Around();
    row.grace_until = Around();
    row.grace_max = OneOf<absl::Time>({store::kNever, Around()});
    row.target = OneOf<std::string>({"", "old", "slot"});
    row.target_before = base::Secret("slot-secret");
    row.seen_before = OneOf<std::vector<std::string>>({{}, {"old", "seen"}});
    row.new_value = Value(OneOf<std::string>({"", "new-secret"}));
    if (sample.state == State::kSweeping) {
      row.abort_ids = OneOf<std::vector<std::string>>({{}, {"ended"}, {"ended", "orphan"}});
    } else if (sample.state == State::kAborting) {
      row.abort_ids = OneOf<std::vector<std::string>>({{}, {"fresh"}, {"fresh", "orphan"}});
    }
    return row;
  }

  providers::CallResult Result(Outcome outcome) {
    return {outcome, "some_cause", 0, absl::Seconds(Up(1))};
  }
  Outcome AnyOutcome() { return static_cast<Outcome>(Up(4)); }

  std::vector<ListedKey> AnyList() {
    std::vector<ListedKey> keys;
    for (const char* id : {"old", "other", "slot", "seen", "ended", "theirs", "fresh", "orphan"}) {
      if (Up(2) != 0) continue;
      const std::string value =
          OneOf<std::string>({"", "old-secret", "slot-secret", absl::StrCat(id, "-secret")});
      keys.push_back({id, OneOf<std::string>({"", "our-tag", "a-tag"}), Value(value), Up(4) == 0});
    }
    return keys;
  }

  Event AnyEvent() {
    switch (Up(7)) {
      case 0: {
        CreateReplied replied{Result(AnyOutcome()), std::nullopt};
        if (Up(5) != 0) {
          replied.key = providers::MintedKey{
              OneOf<std::string>({"", "old", "other", "slot", "fresh"}), Value("new-secret"),
              OneOf<std::optional<absl::Time>>(
                  {std::nullopt, kNow - absl::Hours(1), kNow + absl::Hours(1)})};
        }
        return replied;
      }
      case 1:
        return ListReplied{Result(Maybe() ? Outcome::kOk : AnyOutcome()), AnyList()};
      case 2:
        return VerifyReplied{Result(AnyOutcome())};
      case 3:
        return RevokeReplied{Result(AnyOutcome())};
      case 4:
        return Due{};
      case 5:
        return Restarted{};
      case 6:
        return Undone{};
      default:
        return Brought{};
    }
  }

  std::mt19937 random_;
};

// Replies, and what a person brought, belong to some states only.
bool BelongsSomewhere(const Event& event) {
  return event.index() <= 3 || std::holds_alternative<Brought>(event);
}

bool Fits(State state, ProviderClass of, const Event& event) {
  const bool listed = std::holds_alternative<ListReplied>(event);
  const bool verified = std::holds_alternative<VerifyReplied>(event);
  const bool revoked = std::holds_alternative<RevokeReplied>(event);
  switch (state) {
    case State::kChecking:
      return listed || std::holds_alternative<Brought>(event);
    case State::kOperator:
      return listed;
    case State::kCreating:
      return std::holds_alternative<CreateReplied>(event);
    case State::kReconcile:
      return listed || (verified && of == ProviderClass::kSelfRoll);
    case State::kMinted:
    case State::kProving:
    case State::kDying:
      return verified;
    case State::kVerified:
    case State::kRetiring:
      return false;
    case State::kSweeping:
    case State::kRevoking:
    case State::kAborting:
      return listed || revoked;
  }
  return false;
}

class TransitionsTest : public testing::Test {
 protected:
  // Every sample with the step that came of it.
  template <class Check>
  static void ForEach(Check&& check) {
    // Others for each test, the same each time.
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    Samples samples(std::accumulate(name.begin(), name.end(), uint32_t{1},
                                    [](uint32_t sum, char c) { return sum * 31 + uint8_t(c); }));
    for (int i = 0; i < kSteps && !HasFailure(); ++i) {
      const Sample sample = samples.Next();
      const Step step = Advance(sample.row, sample.event, sample.facts);
      SCOPED_TRACE(absl::StrCat("sample ", i, ": ", sample.text, " -> ", step.record.state));
      check(sample, step);
    }
  }
};

TEST_F(TransitionsTest, WhatBelongsToAnotherStateChangesNothing) {
  ForEach([](const Sample& sample, const Step& step) {
    if (!BelongsSomewhere(sample.event) ||
        Fits(sample.state, sample.facts.traits.provider_class, sample.event)) {
      return;
    }
    EXPECT_FALSE(step.journal);
    EXPECT_EQ(step.version, VersionChange::kNone);
    EXPECT_EQ(step.record.state, sample.row.state);
    EXPECT_TRUE(std::holds_alternative<Proceed>(step.effect));
  });
}

TEST_F(TransitionsTest, ACreateIsJournaledFirstAndCounted) {
  ForEach([](const Sample& sample, const Step& step) {
    if (!std::holds_alternative<CallCreate>(step.effect)) return;
    EXPECT_TRUE(step.journal);
    EXPECT_EQ(ParseState(step.record.state), State::kCreating);
    EXPECT_EQ(step.record.creates, sample.row.creates + 1);
    EXPECT_EQ(step.record.sent_at, kNow);
    EXPECT_FALSE(sample.facts.sweep_only && sample.state == State::kChecking)
        << "a sweep creates nothing";
  });
}

TEST_F(TransitionsTest, OnlyWhatIsOursAndOverIsRevoked) {
  ForEach([](const Sample& sample, const Step& step) {
    const auto* revoke = std::get_if<CallRevoke>(&step.effect);
    if (revoke == nullptr) return;
    const State after = ParseState(step.record.state);
    if (after == State::kRevoking) {
      EXPECT_EQ(revoke->key_id, step.record.old_key_id);
      EXPECT_TRUE(sample.state != State::kRetiring || sample.facts.grace_over);
      EXPECT_TRUE(sample.state != State::kRetiring || !sample.facts.consumers_hold ||
                  sample.facts.grace_max_over);
      return;
    }
    ASSERT_TRUE(after == State::kSweeping || after == State::kAborting);
    EXPECT_EQ(sample.facts.known_ids.count(revoke->key_id), 0u);
    EXPECT_EQ(sample.facts.disowned_ids.count(revoke->key_id), 0u);
    EXPECT_TRUE(revoke->key_id == step.record.new_key_id ||
                std::find(step.record.abort_ids.begin(), step.record.abort_ids.end(),
                          revoke->key_id) != step.record.abort_ids.end());
  });
}

TEST_F(TransitionsTest, VersionsChangeWithTheRowAndOnlyWhereTheyMay) {
  ForEach([](const Sample& sample, const Step& step) {
    if (step.version == VersionChange::kNone) return;
    const ProviderClass of = sample.facts.traits.provider_class;
    const bool rolls = of == ProviderClass::kRoll || of == ProviderClass::kSelfRoll;
    EXPECT_TRUE(step.journal);
    switch (step.version) {
      case VersionChange::kPromote:
        EXPECT_EQ(sample.state, State::kVerified);
        break;
      case VersionChange::kSwap:
        EXPECT_EQ(sample.state, State::kRetiring);
        EXPECT_TRUE(std::holds_alternative<Undone>(sample.event));
        break;
      case VersionChange::kRevokeOld:
        EXPECT_TRUE(sample.state == State::kRevoking || sample.state == State::kDying ||
                    (sample.state == State::kRetiring && sample.facts.grace_over));
        break;
      case VersionChange::kLoseCurrent:
        EXPECT_EQ(of, ProviderClass::kSelfRoll);
        break;
      case VersionChange::kReplace:
        EXPECT_TRUE(rolls || of == ProviderClass::kDualSlot);
        EXPECT_FALSE(step.record.new_value.empty());
        break;
      case VersionChange::kMint:
        EXPECT_FALSE(rolls && sample.state == State::kCreating);
        break;
      default:
        break;
    }
  });
}

TEST_F(TransitionsTest, AKeyThatIsBornDeadIsNeverTaken) {
  ForEach([](const Sample& sample, const Step& step) {
    const auto* created = std::get_if<CreateReplied>(&sample.event);
    if (sample.state != State::kCreating || created == nullptr || !created->key) return;
    if (!created->key->expires_at || *created->key->expires_at > kNow) return;
    EXPECT_EQ(step.version, VersionChange::kNone);
  });
}

TEST_F(TransitionsTest, AnUnknownCreateIsNeverTakenForNothing) {
  ForEach([](const Sample& sample, const Step& step) {
    const auto* created = std::get_if<CreateReplied>(&sample.event);
    if (sample.state != State::kCreating || created == nullptr ||
        created->result.outcome != Outcome::kUnknown) {
      return;
    }
    const bool dies = sample.facts.traits.expires_by_itself > absl::ZeroDuration() &&
                      !sample.facts.traits.can_list;
    EXPECT_EQ(std::holds_alternative<Close>(step.effect), dies);
    EXPECT_TRUE(dies || ParseState(step.record.state) == State::kReconcile);
    // For class chosen the row alone knows the secret that was sent.
    EXPECT_EQ(step.record.new_value.empty(), sample.row.new_value.empty());
  });
}

TEST_F(TransitionsTest, WhatAPersonReadsIsComplete) {
  ForEach([](const Sample& sample, const Step& step) {
    EXPECT_FALSE(step.alert.has_value() && step.alert->cause.empty());
    const auto* close = std::get_if<Close>(&step.effect);
    if (close == nullptr) return;
    EXPECT_TRUE(step.journal);
    EXPECT_FALSE(EndingName(close->ending).empty());
    EXPECT_TRUE(close->disowned.empty() || sample.facts.disown);
    const bool well = close->ending == Ending::kDone || close->ending == Ending::kSwept;
    EXPECT_TRUE(well || !close->cause.empty()) << EndingName(close->ending);
  });
}

TEST_F(TransitionsTest, AWaitLiesAhead) {
  ForEach([](const Sample& sample, const Step& step) {
    const auto* wait = std::get_if<Wait>(&step.effect);
    if (wait == nullptr) return;
    EXPECT_GE(wait->until, sample.facts.now);
  });
}

}  // namespace
}  // namespace keyturn::lifecycle::rotation

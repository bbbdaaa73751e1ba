// SPDX-License-Identifier: Apache-2.0
// The checkers of the simulation are checked: each finds the mistake it is there for.
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"
#include "tests/simulation/books.h"
#include "tests/simulation/leak_search.h"

namespace keyturn::simulation {
namespace {

using fakes::FakeProvider;
using fakes::ProviderCall;
using fakes::ProviderFault;
using providers::ProviderClass;

constexpr char kSecret[] = "fake-key-1>>?";  // whose base64 differs between the two alphabets

TEST(LeakSearch, FindsEachFormAtEachPlace) {
  LeakSearch search;
  search.Add("something else");
  search.Add(kSecret);
  EXPECT_FALSE(search.Find("a line without it: fake-key-"));
  EXPECT_FALSE(search.Find(""));
  const std::string hex = absl::BytesToHexString(kSecret);
  for (size_t before = 0; before < 7; ++before) {
    for (size_t after = 0; after < 4; ++after) {
      const std::string ahead(before, 'x'), behind(after, '~');
      const std::string whole = absl::StrCat(ahead, kSecret, behind);
      EXPECT_TRUE(search.Find(whole));
      EXPECT_TRUE(search.Find(absl::StrCat("token=", absl::Base64Escape(whole)))) << whole;
      EXPECT_TRUE(search.Find(absl::StrCat("token=", absl::WebSafeBase64Escape(whole)))) << whole;
      EXPECT_TRUE(search.Find(absl::StrCat(ahead, hex, behind)));
      EXPECT_TRUE(search.Find(absl::StrCat(ahead, absl::AsciiStrToUpper(hex), behind)));
    }
  }
}

FakeProvider::Key KeyOf(const std::string& id, const std::string& value) {
  FakeProvider::Key key;
  key.id = id;
  key.value = value;
  return key;
}

// One key, in order.
Books InOrder(ProviderClass provider_class) {
  Books books;
  books.provider_class = provider_class;
  auto* version = books.described.add_versions();
  version->set_state("current");
  version->set_provider_key_id("a");
  books.existing = {KeyOf("a", "now")};
  books.handed_out = "now";
  books.given = {"before", "now"};
  return books;
}

class EveryClass : public testing::TestWithParam<ProviderClass> {};
INSTANTIATE_TEST_SUITE_P(Books, EveryClass,
                         testing::Values(ProviderClass::kTagged, ProviderClass::kUntagged,
                                         ProviderClass::kListed, ProviderClass::kChosen,
                                         ProviderClass::kDualSlot, ProviderClass::kRoll,
                                         ProviderClass::kSelfRoll, ProviderClass::kManual),
                         [](const auto& test) { return ProviderClassName(test.param); });

TEST_P(EveryClass, OneKnownKeyIsInOrder) { EXPECT_FALSE(Disagreement(InOrder(GetParam()))); }

TEST_P(EveryClass, WhatIsHandedOutMustBeTheCurrentKey) {
  Books books = InOrder(GetParam());
  books.handed_out = "before";
  EXPECT_TRUE(Disagreement(books));
  books = InOrder(GetParam());
  books.existing.clear();
  EXPECT_TRUE(Disagreement(books));
  books = InOrder(GetParam());
  books.described.mutable_versions(0)->set_state("retiring");
  EXPECT_TRUE(Disagreement(books));
}

TEST_P(EveryClass, AnOpenRotationIsNotTheEnd) {
  Books books = InOrder(GetParam());
  books.described.mutable_rotation()->set_state("reconcile");
  EXPECT_TRUE(Disagreement(books));
}

TEST_P(EveryClass, AKeyThatWasHandedOutBeforeMustBeGone) {
  Books books = InOrder(GetParam());
  books.existing.push_back(KeyOf("b", "before"));
  auto* version = books.described.add_versions();
  version->set_state("revoked");
  version->set_provider_key_id("b");
  EXPECT_TRUE(Disagreement(books));
}

TEST(Books, AnUnknownKeyIsAnOrphan) {
  for (ProviderClass c : {ProviderClass::kTagged, ProviderClass::kUntagged, ProviderClass::kListed,
                          ProviderClass::kChosen, ProviderClass::kRoll, ProviderClass::kSelfRoll}) {
    Books books = InOrder(c);
    books.existing.push_back(KeyOf("b", "new"));
    EXPECT_TRUE(Disagreement(books)) << ProviderClassName(c);
    books.losses = 1;  // which only a key that replaces itself may have
    EXPECT_EQ(c != ProviderClass::kSelfRoll, Disagreement(books).has_value());
  }
}

TEST(Books, SomebodyElsesKeysAreNoOrphans) {
  Books books = InOrder(ProviderClass::kTagged);
  books.existing.push_back(KeyOf("b", "theirs"));
  books.foreign = {"b"};
  EXPECT_FALSE(Disagreement(books));
  books = InOrder(ProviderClass::kRoll);
  books.existing.push_back(KeyOf("b", "theirs"));
  books.by_hand = {"theirs"};
  EXPECT_FALSE(Disagreement(books));
}

TEST(Books, NobodyMakesKeysOfClassManual) {
  Books books = InOrder(ProviderClass::kManual);
  books.creates = 1;
  EXPECT_TRUE(Disagreement(books));
}

class CallsTest : public testing::Test {
 protected:
  CallsTest() : provider_(Options(), clock_, world_) {}

  static FakeProvider::Options Options() {
    FakeProvider::Options options;
    options.traits.provider_class = ProviderClass::kTagged;
    options.traits.key_limit = 2;
    options.traits.settle = absl::Seconds(30);
    options.enforces_limit = false;
    return options;
  }
  void Create(ProviderFault::Kind kind = ProviderFault::Kind::kNone,
              absl::Duration late_by = absl::ZeroDuration()) {
    provider_.InjectNext(ProviderCall::kCreate, {kind, late_by});
    provider_.Create({}, {}, [](const providers::CallResult&, const auto&) {});
  }

  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor world_{clock_};
  FakeProvider provider_;
};

TEST_F(CallsTest, TheMostKeysAreCountedBeyondALimitThatIsOnlyStated) {
  for (int i = 0; i < 3; ++i) {
    Create();
    world_.AdvanceBy(absl::Seconds(1));
  }
  EXPECT_EQ(3u, provider_.most_expected_keys());
}

TEST_F(CallsTest, WhatNobodyCouldExpectIsNotCounted) {
  Create(ProviderFault::Kind::kDuplicateEffect);
  Create(ProviderFault::Kind::kLateEffect, absl::Minutes(1));
  world_.AdvanceBy(absl::Minutes(2));
  EXPECT_EQ(3u, provider_.most_keys());
  EXPECT_EQ(1u, provider_.most_expected_keys());
  Create(ProviderFault::Kind::kLateEffect, absl::Seconds(5));
  world_.AdvanceBy(absl::Minutes(1));
  EXPECT_EQ(2u, provider_.most_expected_keys());
}

TEST_F(CallsTest, TwoCreatesAtOnceAreSeen) {
  Create();
  world_.AdvanceBy(absl::Seconds(1));
  Create();
  world_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(1, provider_.most_in_flight(ProviderCall::kCreate));
  Create();
  Create();
  EXPECT_EQ(2, provider_.most_in_flight(ProviderCall::kCreate));
}

TEST_F(CallsTest, ACreateInDoubtIsToBeWaitedFor) {
  Create(ProviderFault::Kind::kLoseReply);
  world_.AdvanceBy(absl::Seconds(31));  // the caller's timeout is over since a second
  EXPECT_EQ(absl::InfiniteDuration(), provider_.shortest_wait_in_doubt());
  world_.AdvanceBy(absl::Seconds(6));
  Create();
  EXPECT_EQ(absl::Seconds(7), provider_.shortest_wait_in_doubt());
  provider_.ForgetCallers();  // a crash leaves doubt as well
  world_.AdvanceBy(absl::Seconds(3));
  Create();
  EXPECT_EQ(absl::Seconds(3), provider_.shortest_wait_in_doubt());
}

}  // namespace
}  // namespace keyturn::simulation

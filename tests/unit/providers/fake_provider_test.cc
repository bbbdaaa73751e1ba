// SPDX-License-Identifier: Apache-2.0
// The fake's faults do what their names say; tests of the lifecycle lean on that.
#include "tests/fakes/fake_provider.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::fakes {
namespace {

using providers::CallResult;
using providers::Outcome;
using providers::ProviderClass;

providers::NewKey Named(const std::string& tag) {
  providers::NewKey key;
  key.tag = tag;
  return key;
}

class FakeProviderTest : public testing::Test {
 protected:
  FakeProviderTest() { Make({}); }

  void Make(FakeProvider::Options options) {
    options.traits.provider_class = ProviderClass::kTagged;
    provider_ = std::make_unique<FakeProvider>(options, clock_, executor_);
  }

  void Create() {
    result_.reset();
    minted_.reset();
    provider_->Create({}, Named("kt-tag"),
                      [this](CallResult r, std::optional<providers::MintedKey> m) {
                        result_ = r.outcome;
                        minted_ = std::move(m);
                      });
  }
  Outcome Verify(const std::string& value) {
    std::optional<Outcome> outcome;
    provider_->Verify(base::CredentialValue::Of(base::Secret(value)),
                      [&](CallResult r) { outcome = r.outcome; });
    executor_.AdvanceBy(absl::Milliseconds(40));
    return outcome.value_or(Outcome::kUnknown);
  }

  SimulatedClock clock_;
  SimulatedExecutor executor_{clock_};
  std::unique_ptr<FakeProvider> provider_;
  std::optional<Outcome> result_;
  std::optional<providers::MintedKey> minted_;
};

TEST_F(FakeProviderTest, AnswersLaterNeverAtOnce) {
  Create();
  executor_.RunReady();
  EXPECT_EQ(result_, std::nullopt);
  EXPECT_TRUE(provider_->keys().empty());
  executor_.AdvanceBy(absl::Milliseconds(20));
  EXPECT_EQ(provider_->keys().size(), 1U);
  EXPECT_EQ(result_, std::nullopt);
  executor_.AdvanceBy(absl::Milliseconds(20));
  EXPECT_EQ(result_, Outcome::kOk);
  EXPECT_EQ(provider_->keys()[0].tag, "kt-tag");
}

TEST_F(FakeProviderTest, LostReplyAndLostRequestLookTheSameToTheCaller) {
  for (const auto kind : {ProviderFault::Kind::kLoseReply, ProviderFault::Kind::kLoseRequest}) {
    Make({});
    provider_->InjectNext(ProviderCall::kCreate, {kind, {}, {}});
    Create();
    executor_.AdvanceBy(absl::Seconds(29));
    EXPECT_EQ(result_, std::nullopt);
    executor_.AdvanceBy(absl::Seconds(1));
    EXPECT_EQ(result_, Outcome::kUnknown);
    EXPECT_EQ(provider_->keys().size(), kind == ProviderFault::Kind::kLoseReply ? 1U : 0U);
  }
}

TEST_F(FakeProviderTest, LateEffectComesAfterTheTimeout) {
  provider_->InjectNext(ProviderCall::kCreate,
                        {ProviderFault::Kind::kLateEffect, absl::Seconds(40), {}});
  Create();
  executor_.AdvanceBy(absl::Seconds(30));
  EXPECT_EQ(result_, Outcome::kUnknown);
  EXPECT_TRUE(provider_->keys().empty());
  executor_.AdvanceBy(absl::Seconds(11));
  EXPECT_EQ(provider_->keys().size(), 1U);
}

TEST_F(FakeProviderTest, DuplicateEffectLeavesTwoKeysAndAnswersTheSecond) {
  provider_->InjectNext(ProviderCall::kCreate, {ProviderFault::Kind::kDuplicateEffect, {}, {}});
  Create();
  executor_.AdvanceBy(absl::Seconds(1));
  ASSERT_EQ(provider_->keys().size(), 2U);
  EXPECT_EQ(minted_->id, provider_->keys()[1].id);
}

TEST_F(FakeProviderTest, RefusalsHaveNoEffect) {
  provider_->InjectNext(ProviderCall::kCreate, {ProviderFault::Kind::kRefuse, {}, {}});
  provider_->InjectNext(ProviderCall::kCreate, {ProviderFault::Kind::kTransient, {}, {}});
  Create();
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(result_, Outcome::kRejected);
  Create();
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(result_, Outcome::kTransient);
  EXPECT_TRUE(provider_->keys().empty());
}

TEST_F(FakeProviderTest, ForgottenCallersGetNoAnswerButTheEffectHappens) {
  Create();
  provider_->ForgetCallers();
  executor_.AdvanceBy(absl::Minutes(1));
  EXPECT_EQ(result_, std::nullopt);
  EXPECT_EQ(provider_->keys().size(), 1U);
  Create();
  executor_.AdvanceBy(absl::Minutes(1));
  EXPECT_EQ(result_, Outcome::kOk);
}

TEST_F(FakeProviderTest, KeysWorkAfterPropagationAndUntilTheCacheForgetsThem) {
  FakeProvider::Options options;
  options.works_after = absl::Seconds(5);
  options.traits.cached_for = absl::Minutes(10);
  Make(options);
  Create();
  executor_.AdvanceBy(absl::Seconds(1));
  const std::string value = provider_->keys()[0].value;
  EXPECT_EQ(Verify(value), Outcome::kRejected);
  executor_.AdvanceBy(absl::Seconds(5));
  EXPECT_EQ(Verify(value), Outcome::kOk);
  provider_->DeleteKey(minted_->id);
  executor_.AdvanceBy(absl::Minutes(9));
  EXPECT_EQ(Verify(value), Outcome::kOk);
  executor_.AdvanceBy(absl::Minutes(1));
  EXPECT_EQ(Verify(value), Outcome::kRejected);
}

TEST_F(FakeProviderTest, ForeignKeysCountAgainstTheLimit) {
  FakeProvider::Options options;
  options.traits.key_limit = 2;
  Make(options);
  provider_->AddForeignKey();
  Create();
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(result_, Outcome::kOk);
  Create();
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(result_, Outcome::kLimited);
  EXPECT_EQ(provider_->most_keys(), 2U);
}

}  // namespace
}  // namespace keyturn::fakes

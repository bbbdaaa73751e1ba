// SPDX-License-Identifier: Apache-2.0
// What every Provider must do, whatever is behind it. To run it for another one: derive a
// ProviderWorld, include this header in one test file of a program, and instantiate
// ProviderConformance with a factory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "agent/base/value.h"
#include "agent/providers/provider.h"

namespace keyturn::conformance {

// A provider together with the service behind it.
class ProviderWorld {
 public:
  virtual ~ProviderWorld() = default;
  virtual providers::Provider& provider() = 0;
  virtual base::CredentialValue manager() = 0;
  // One the service does not accept.
  virtual base::CredentialValue wrong_manager() = 0;
  // Lets time pass and everything happen that is due.
  virtual void Advance(absl::Duration d) = 0;
  // The next call has its effect, and its reply is lost.
  virtual void LoseNextReply() = 0;
  // The next call is refused for now, without effect.
  virtual void RefuseNextForNow() = 0;
  // Keys that exist at the service, whoever made them.
  virtual size_t existing_keys() = 0;
};

using ProviderWorldFactory = std::function<std::unique_ptr<ProviderWorld>()>;

class ProviderConformance
    : public testing::TestWithParam<std::pair<std::string, ProviderWorldFactory>> {
 protected:
  using CallResult = providers::CallResult;
  using Outcome = providers::Outcome;
  using Class = providers::ProviderClass;

  ProviderConformance() : world_(GetParam().second()) {}

  const providers::Traits& traits() { return world_->provider().traits(); }
  bool tagged() { return traits().provider_class == Class::kTagged; }

  // Each checks that the answer comes exactly once, and not from within the call.
  std::pair<Outcome, std::optional<providers::MintedKey>> Create(
      const std::string& tag, std::optional<base::CredentialValue> manager = std::nullopt) {
    int answers = 0;
    std::pair<Outcome, std::optional<providers::MintedKey>> got;
    providers::NewKey key;
    key.tag = tag;
    world_->provider().Create(manager.value_or(world_->manager()), key,
                              [&](CallResult r, std::optional<providers::MintedKey> m) {
                                ++answers;
                                got = {r.outcome, std::move(m)};
                              });
    Settle(&answers);
    EXPECT_EQ(got.second.has_value(), got.first == Outcome::kOk);
    return got;
  }
  std::pair<Outcome, std::vector<providers::ListedKey>> List(
      std::optional<base::CredentialValue> manager = std::nullopt) {
    int answers = 0;
    std::pair<Outcome, std::vector<providers::ListedKey>> got;
    world_->provider().List(manager.value_or(world_->manager()),
                            [&](CallResult r, std::vector<providers::ListedKey> keys) {
                              ++answers;
                              got = {r.outcome, std::move(keys)};
                            });
    Settle(&answers);
    return got;
  }
  Outcome Verify(const base::CredentialValue& key) {
    int answers = 0;
    Outcome got = Outcome::kUnknown;
    world_->provider().Verify(key, [&](CallResult r) {
      ++answers;
      got = r.outcome;
    });
    Settle(&answers);
    return got;
  }
  Outcome Revoke(const std::string& id,
                 std::optional<base::CredentialValue> manager = std::nullopt) {
    int answers = 0;
    Outcome got = Outcome::kUnknown;
    world_->provider().Revoke(manager.value_or(world_->manager()), id, {}, [&](CallResult r) {
      ++answers;
      got = r.outcome;
    });
    Settle(&answers);
    return got;
  }
  std::vector<std::string> ListedIds() {
    std::vector<std::string> ids;
    for (const auto& key : List().second) ids.push_back(key.id);
    return ids;
  }

  std::unique_ptr<ProviderWorld> world_;

 private:
  void Settle(const int* answers) {
    EXPECT_EQ(*answers, 0) << "answered from within the call";
    world_->Advance(absl::Minutes(1));
    EXPECT_EQ(*answers, 1);
  }
};

TEST_P(ProviderConformance, ANewKeyIsListedAndWorks) {
  const size_t before = List().second.size();
  const auto [outcome, minted] = Create("kt-a-r-1");
  ASSERT_EQ(outcome, Outcome::kOk);
  EXPECT_FALSE(minted->id.empty());
  ASSERT_NE(minted->value.Primary(), nullptr);
  const auto [list_outcome, listed] = List();
  EXPECT_EQ(list_outcome, Outcome::kOk);
  ASSERT_EQ(listed.size(), before + 1);
  const auto found = std::find_if(listed.begin(), listed.end(),
                                  [&, &id = minted->id](const auto& k) { return k.id == id; });
  ASSERT_NE(found, listed.end());
  if (tagged()) {
    EXPECT_EQ(found->tag, "kt-a-r-1");
  }
  if (traits().provider_class == Class::kListed) {
    EXPECT_TRUE(*found->value.Primary() == *minted->value.Primary());
  }
  if (traits().can_verify) {
    EXPECT_EQ(Verify(minted->value), Outcome::kOk);
  }
}

TEST_P(ProviderConformance, TwoKeysDiffer) {
  const auto first = Create("kt-a-r-1").second;
  const auto second = Create("kt-a-r-2").second;
  ASSERT_TRUE(first.has_value() && second.has_value());
  EXPECT_NE(first->id, second->id);
  EXPECT_FALSE(*first->value.Primary() == *second->value.Primary());
}

TEST_P(ProviderConformance, ARevokedKeyIsGoneAndDeadAfterTheCache) {
  const auto minted = Create("kt-a-r-1").second;
  const auto other = Create("kt-a-r-2").second;
  ASSERT_TRUE(minted.has_value() && other.has_value());
  EXPECT_EQ(Revoke(minted->id), Outcome::kOk);
  const auto ids = ListedIds();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), minted->id), 0);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), other->id), 1);
  world_->Advance(traits().cached_for);
  if (!traits().can_verify) return;
  EXPECT_EQ(Verify(minted->value), Outcome::kRejected);
  EXPECT_EQ(Verify(other->value), Outcome::kOk);
}

TEST_P(ProviderConformance, RevokingTwiceIsFine) {
  const auto minted = Create("kt-a-r-1").second;
  ASSERT_TRUE(minted.has_value());
  EXPECT_EQ(Revoke(minted->id), Outcome::kOk);
  EXPECT_EQ(Revoke(minted->id), Outcome::kOk);
}

TEST_P(ProviderConformance, ALostReplyIsUnknownAndTheKeyIsThere) {
  const size_t before = world_->existing_keys();
  world_->LoseNextReply();
  EXPECT_EQ(Create("kt-a-r-1").first, Outcome::kUnknown);
  EXPECT_EQ(world_->existing_keys(), before + 1);
  const auto [outcome, listed] = List();
  EXPECT_EQ(outcome, Outcome::kOk);
  EXPECT_EQ(listed.size(), before + 1);
  if (tagged()) {
    EXPECT_EQ(listed.back().tag, "kt-a-r-1");
  }
  world_->LoseNextReply();
  EXPECT_EQ(Revoke(listed.back().id), Outcome::kUnknown);
  EXPECT_EQ(world_->existing_keys(), before);
}

TEST_P(ProviderConformance, CallsWithoutEffectAreNeverInDoubt) {
  const auto minted = Create("kt-a-r-1").second;
  ASSERT_TRUE(minted.has_value());
  world_->LoseNextReply();
  EXPECT_EQ(List().first, Outcome::kTransient);
  if (!traits().can_verify) return;
  world_->LoseNextReply();
  EXPECT_EQ(Verify(minted->value), Outcome::kTransient);
}

TEST_P(ProviderConformance, ARefusalForNowHasNoEffect) {
  const size_t before = world_->existing_keys();
  world_->RefuseNextForNow();
  EXPECT_EQ(Create("kt-a-r-1").first, Outcome::kTransient);
  EXPECT_EQ(world_->existing_keys(), before);
  world_->RefuseNextForNow();
  EXPECT_EQ(List().first, Outcome::kTransient);
}

TEST_P(ProviderConformance, AWrongManagerIsRejectedWithoutEffect) {
  const auto minted = Create("kt-a-r-1").second;
  ASSERT_TRUE(minted.has_value());
  const size_t before = world_->existing_keys();
  EXPECT_EQ(Create("kt-a-r-2", world_->wrong_manager()).first, Outcome::kRejected);
  EXPECT_EQ(List(world_->wrong_manager()).first, Outcome::kRejected);
  EXPECT_EQ(Revoke(minted->id, world_->wrong_manager()), Outcome::kRejected);
  EXPECT_EQ(world_->existing_keys(), before);
}

TEST_P(ProviderConformance, TheLimitIsSaidAndKept) {
  if (traits().key_limit == 0) {  // says it has none, and has none
    for (int i = 0; i < 30; ++i) ASSERT_EQ(Create("kt-a-r-1").first, Outcome::kOk);
    return;
  }
  while (world_->existing_keys() < traits().key_limit) {
    ASSERT_EQ(Create("kt-a-r-1").first, Outcome::kOk);
  }
  EXPECT_EQ(Create("kt-a-r-9").first, Outcome::kLimited);
  EXPECT_EQ(world_->existing_keys(), traits().key_limit);
}

TEST_P(ProviderConformance, AKeyNobodyMadeIsRejected) {
  const Outcome said = Verify(base::CredentialValue::Of(base::Secret("never-issued")));
  // One that cannot verify must not pretend to know.
  EXPECT_EQ(said, traits().can_verify ? Outcome::kRejected : Outcome::kTransient);
}

}  // namespace keyturn::conformance

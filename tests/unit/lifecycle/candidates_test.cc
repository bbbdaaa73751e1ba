// SPDX-License-Identifier: Apache-2.0
// Which listed keys count as ours: by id, by tag, by exclusion, and by the value that is in use.
#include "agent/lifecycle/rotation/candidates.h"

#include <gtest/gtest.h>

#include "tests/fakes/crypto_ready.h"

namespace keyturn::lifecycle::rotation {
namespace {

using providers::ListedKey;
using providers::ProviderClass;

base::CredentialValue Value(const char* text) {
  return base::CredentialValue::Of(base::Secret(text));
}

Facts FactsOf(ProviderClass provider_class, bool exclusive) {
  Facts facts;
  facts.traits.provider_class = provider_class;
  facts.exclusive = exclusive;
  return facts;
}

TEST(CandidatesTest, AKeyStoredWithoutItsIdIsKnownByItsValue) {
  Facts facts = FactsOf(ProviderClass::kListed, /*exclusive=*/true);
  facts.current_value = Value("in-use");
  const std::vector<ListedKey> listed = {{"k1", "", Value("in-use")}, {"k2", "", Value("left")}};
  EXPECT_EQ(UnaccountedOf(listed, facts).orphans, std::vector<std::string>{"k2"});
  const Candidates candidates = CandidatesOf({}, listed, facts);
  ASSERT_EQ(candidates.keys.size(), 1u);
  EXPECT_EQ(candidates.keys.front().id, "k2");
}

TEST(CandidatesTest, WhatNobodyAccountsForIsAnOrphanOnlyWhereItIsProvablyOurs) {
  const std::vector<ListedKey> listed = {{"k1", "kt-a-b-1", {}}, {"k2", "someone", {}}};
  Facts tagged = FactsOf(ProviderClass::kTagged, false);
  tagged.our_tags = {"kt-a-b-1"};
  EXPECT_EQ(UnaccountedOf(listed, tagged).orphans, std::vector<std::string>{"k1"});
  EXPECT_TRUE(UnaccountedOf(listed, tagged).unknown.empty());
  const Facts shared = FactsOf(ProviderClass::kUntagged, false);
  EXPECT_TRUE(UnaccountedOf(listed, shared).orphans.empty());
  EXPECT_EQ(UnaccountedOf(listed, shared).unknown.size(), 2u);
  const Facts exclusive = FactsOf(ProviderClass::kUntagged, true);
  EXPECT_EQ(UnaccountedOf(listed, exclusive).orphans.size(), 2u);
}

TEST(CandidatesTest, AnotherAttemptsTagIsNoCandidate) {
  const Facts facts = FactsOf(ProviderClass::kTagged, false);
  store::RotationRecord record;
  record.tag = "kt-a-b-2";
  const std::vector<ListedKey> listed = {{"k1", "kt-a-b-1", {}}, {"k2", "kt-a-b-2", {}}};
  const Candidates candidates = CandidatesOf(record, listed, facts);
  ASSERT_EQ(candidates.keys.size(), 1u);
  EXPECT_EQ(candidates.keys.front().id, "k2");
  EXPECT_TRUE(candidates.certain);
}

}  // namespace
}  // namespace keyturn::lifecycle::rotation

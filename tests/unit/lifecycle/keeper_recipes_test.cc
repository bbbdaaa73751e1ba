// SPDX-License-Identifier: Apache-2.0
// Trying a recipe: which calls are made, with whose values, and what is said about them.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using fakes::ProviderCall;

class KeeperRecipesTest : public testing::Test {
 protected:
  KeeperRecipesTest() : house_(Options()) {}
  static KeeperHouse::Options Options() {
    KeeperHouse::Options options;
    options.provider.traits.provider_class = providers::ProviderClass::kTagged;
    options.provider.manager_secret = "admin-secret";
    return options;
  }
  absl::StatusOr<v1::TestRecipeResponse> Try(const std::string& credential,
                                             const std::string& recipe = "fake") {
    v1::TestRecipeRequest request;
    request.set_recipe(recipe);
    request.set_endpoint("https://h");
    request.set_manager("p/admin");
    request.set_credential(credential);
    std::optional<absl::StatusOr<v1::TestRecipeResponse>> got;
    house_.keeper().TestRecipe(request, [&](auto response) { got = std::move(response); });
    house_.AdvanceUntil([&] { return got.has_value(); }, absl::Minutes(2));
    return got.value_or(absl::InternalError("no answer"));
  }

  KeeperHouse house_;
};

TEST_F(KeeperRecipesTest, ATrialListsAndVerifiesAndChangesNothing) {
  ASSERT_TRUE(house_.Apply("credentials:\n  p/admin: { static: {} }\n  k: { static: {} }\n").ok());
  ASSERT_TRUE(house_.Put("p/admin", "admin-secret").ok());
  ASSERT_TRUE(house_.Put("k", "no-such-key").ok());
  house_.provider->AddForeignKey();
  const auto response = Try("k");
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->checks_size(), 4);
  EXPECT_EQ(response->checks(0).call(), "list");
  EXPECT_EQ(response->checks(0).outcome(), "ok");
  EXPECT_EQ(response->checks(0).detail(), "1 keys listed, 0 of them dead");
  EXPECT_EQ(response->checks(1).call(), "verify");
  EXPECT_EQ(response->checks(1).outcome(), "rejected");
  EXPECT_EQ(response->checks(2).outcome(), "skipped");
  EXPECT_EQ(response->checks(3).outcome(), "skipped");
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), 0);
  EXPECT_EQ(house_.provider->calls(ProviderCall::kRevoke), 0);
  EXPECT_FALSE(absl::StrContains(response->ShortDebugString(), "secret"));
}

TEST_F(KeeperRecipesTest, ARefusedManagerIsSaidToBeThat) {
  ASSERT_TRUE(house_.Apply("credentials:\n  p/admin: { static: {} }\n").ok());
  ASSERT_TRUE(house_.Put("p/admin", "guess").ok());
  const auto response = Try("");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->checks(0).outcome(), "rejected");
  EXPECT_TRUE(absl::StrContains(response->checks(0).detail(), "manager credential"));
  EXPECT_EQ(response->checks(1).outcome(), "skipped") << "no credential was named";
}

TEST_F(KeeperRecipesTest, WhatIsNotThereIsSaid) {
  EXPECT_FALSE(Try("").ok()) << "the manager credential has no value";
  EXPECT_FALSE(Try("", "none").ok());
  std::optional<absl::Status> shown;
  v1::ShowRecipeRequest request;
  request.set_name("none");
  house_.keeper().ShowRecipe(request, [&](const auto& r) { shown = r.status(); });
  house_.Advance(absl::ZeroDuration());
  ASSERT_TRUE(shown.has_value());
  EXPECT_EQ(base::ReasonOf(*shown), "NO_SUCH_RECIPE");
}

}  // namespace
}  // namespace keyturn::lifecycle

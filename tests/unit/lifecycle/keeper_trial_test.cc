// SPDX-License-Identifier: Apache-2.0
// Trying a credential: which call is made, and what its outcome is said to mean. And the presets,
// as administrators see them.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

class KeeperTrialTest : public testing::Test {
 protected:
  KeeperTrialTest() : house_(Options()) {}
  static fakes::KeeperHouse::Options Options() {
    fakes::KeeperHouse::Options options;
    options.provider.traits.provider_class = providers::ProviderClass::kTagged;
    auto preset = providers::ReadPreset(
        "preset: mine\ntitle: Mine\ndocs: https://h\n"
        "params: { zone: { about: a, default: z }, app: { required: true, about: b, example: c } "
        "}\n"
        "grants: [client_credentials, jwt_bearer]\n"
        "oauth: { grant: client_credentials, token_url: \"https://{app}.h/{zone}\" }\n"
        "uncertain: [Much.]\n",
        "mine.yaml");
    EXPECT_TRUE(preset.ok()) << preset.status();
    options.presets.Add(*std::move(preset));
    return options;
  }
  absl::StatusOr<v1::TestCredentialResponse> Try(const std::string& name) {
    v1::TestCredentialRequest request;
    request.set_name(name);
    std::optional<absl::StatusOr<v1::TestCredentialResponse>> got;
    house_.keeper().TestCredential(request, [&](auto response) { got = std::move(response); });
    house_.AdvanceUntil([&] { return got.has_value(); }, absl::Minutes(2));
    return got.value_or(absl::InternalError("no answer"));
  }

  fakes::KeeperHouse house_;
};

TEST_F(KeeperTrialTest, ATokenIsTriedAtTheConfiguredAddress) {
  ASSERT_TRUE(house_.UseMachineToken(", test: { url: https://h/me }").ok());
  const auto response = Try("t");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->outcome(), "accepted");
  EXPECT_EQ(response->http_status(), 200);
  EXPECT_EQ(response->cause(), "");
  EXPECT_GT(response->took().nanos(), 0);
}

TEST_F(KeeperTrialTest, ATokenIsSentAsItsConsumersSendIt) {
  ASSERT_TRUE(house_.UseMachineToken(", test: { url: https://h/me }").ok());
  ASSERT_TRUE(Try("t").ok());
  EXPECT_EQ(house_.endpoint.last_tried(), "Authorization: Bearer " + house_.Published("t"));
  EXPECT_EQ(house_.endpoint.last_tried_key(), "");
  for (const auto& [attach, sent] : std::vector<std::pair<std::string, std::string>>{
           {"{ header: x-api-key, format: \"{value}\" }", "x-api-key: %"},
           {"{ header: X-Token }", "X-Token: %"},
           {"{ header: Authorization, format: \"Zoho-oauthtoken {value}\" }",
            "Authorization: Zoho-oauthtoken %"},
           {"{ format: \"token {value}\" }", "Authorization: token %"},
           {"{ header: X-Auth, format: \"{token_type} {value};v=1\" }", "X-Auth: Bearer %;v=1"}}) {
    ASSERT_TRUE(
        house_.UseMachineToken(absl::StrCat(", test: { url: https://h/me }, attach: ", attach))
            .ok());
    const std::string token = house_.Published("t");  // another one is on its way after a change
    const auto response = Try("t");
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->outcome(), "accepted");
    EXPECT_EQ(house_.endpoint.last_tried(), absl::StrReplaceAll(sent, {{"%", token}}));
  }
}

TEST_F(KeeperTrialTest, ABoundTokenIsSentWithAProofOfItsKey) {
  ASSERT_TRUE(house_.UseMachineToken(", dpop: true, test: { url: https://h/me }").ok());
  ASSERT_TRUE(Try("t").ok());
  EXPECT_EQ(house_.endpoint.last_tried(), "Authorization: DPoP " + house_.Published("t"));
  EXPECT_TRUE(absl::StrContains(house_.endpoint.last_tried_key(), "PRIVATE KEY"));
}

TEST_F(KeeperTrialTest, EveryAnswerIsExplained) {
  ASSERT_TRUE(house_.UseMachineToken(", test: { url: https://h/me }").ok());
  struct Case {
    absl::StatusOr<int> answer;
    std::string outcome;
    std::string cause;
    std::string detail;
  };
  const Case cases[] = {
      {204, "accepted", "", "accepts it"},
      {401, "rejected", "http_401", "keyturn refresh t"},
      {402, "limited", "http_402", "no balance"},
      {403, "forbidden", "http_403", "alive, but not allowed"},
      {404, "unknown", "http_404", "leads nowhere"},
      {429, "limited", "http_429", "too often"},
      {302, "unknown", "http_302", "log in"},
      {408, "transient", "http_408", "try again later"},
      {503, "transient", "http_503", "trouble of its own"},
      {418, "unknown", "http_418", "neither yes nor no"},
      {absl::UnavailableError("timeout"), "transient", "no_reply", "gave no answer"},
      {absl::InvalidArgumentError("denied"), "unknown", "not_sent", "could not be made: denied"},
  };
  for (const Case& c : cases) {
    house_.endpoint.AnswerNextTry(c.answer);
    const auto response = Try("t");
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->outcome(), c.outcome) << c.cause;
    EXPECT_EQ(response->cause(), c.cause);
    EXPECT_TRUE(absl::StrContains(response->detail(), c.detail)) << response->detail();
  }
}

TEST_F(KeeperTrialTest, ATokenThatHasRunOutIsRefreshedFirst) {
  ASSERT_TRUE(house_.UseMachineToken(", test: { url: https://h/me }").ok());
  fakes::TokenFault fault;
  fault.kind = fakes::TokenFault::Kind::kTransient;
  house_.endpoint.SetFaults([&] { return fault; });
  house_.Advance(absl::Hours(2));
  fault.kind = fakes::TokenFault::Kind::kNone;
  const auto response = Try("t");
  // Either way the outdated token itself is never sent.
  if (response.ok()) {
    EXPECT_EQ(response->outcome(), "accepted");
  } else {
    EXPECT_EQ(base::ReasonOf(response.status()), "REFRESH_FAILED");
  }
}

TEST_F(KeeperTrialTest, WithoutAnAddressTheServerIsAskedAboutIt) {
  ASSERT_TRUE(house_.UseMachineToken(", introspection_url: https://h/introspect").ok());
  const auto alive = Try("t");
  ASSERT_TRUE(alive.ok()) << alive.status();
  EXPECT_EQ(alive->outcome(), "accepted");
}

TEST_F(KeeperTrialTest, WithoutEitherThereIsNothingToTry) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  const auto response = Try("t");
  EXPECT_EQ(base::ReasonOf(response.status()), "NOT_POSSIBLE_NOW");
  EXPECT_TRUE(absl::StrContains(response.status().message(), "test: { url")) << response.status();
  ASSERT_TRUE(house_.Apply("credentials:\n  s: { static: {} }\n").ok());
  EXPECT_EQ(base::ReasonOf(Try("s").status()), "NOT_POSSIBLE_NOW");
  EXPECT_TRUE(absl::IsNotFound(Try("none").status()));
}

TEST_F(KeeperTrialTest, AKeyIsTriedByItsRecipe) {
  ASSERT_TRUE(house_
                  .Apply("providers:\n  p: { recipe: fake, endpoint: https://h }\n"
                         "credentials:\n  k: { provider: p, rotate: { every: 1d } }\n")
                  .ok());
  EXPECT_EQ(base::ReasonOf(Try("k").status()), "NO_VALUE_YET");
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return !house_.Published("k").empty(); }, absl::Minutes(5)));
  const auto alive = Try("k");
  ASSERT_TRUE(alive.ok()) << alive.status();
  EXPECT_EQ(alive->outcome(), "accepted");
}

TEST_F(KeeperTrialTest, PresetsAreListedAndShown) {
  absl::StatusOr<v1::ListPresetsResponse> list = absl::InternalError("no answer");
  house_.keeper().ListPresets([&](auto response) { list = std::move(response); });
  house_.Advance(absl::ZeroDuration());
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->presets_size(), 1);
  const v1::PresetSummary& preset = list->presets(0);
  EXPECT_EQ(preset.name(), "mine");
  EXPECT_EQ(preset.title(), "Mine");
  ASSERT_EQ(preset.grants_size(), 2);
  EXPECT_EQ(preset.grants(1), "jwt_bearer");
  ASSERT_EQ(preset.params_size(), 2);
  EXPECT_EQ(preset.params(0), "app");
  EXPECT_TRUE(preset.uncertain());

  const auto show = [this](const std::string& name) {
    v1::ShowPresetRequest request;
    request.set_name(name);
    absl::StatusOr<v1::ShowPresetResponse> shown = absl::InternalError("no answer");
    house_.keeper().ShowPreset(request, [&](auto response) { shown = std::move(response); });
    house_.Advance(absl::ZeroDuration());
    return shown;
  };
  EXPECT_TRUE(absl::StartsWith(show("mine")->yaml(), "preset: mine\n"));
  EXPECT_EQ(base::ReasonOf(show("none").status()), "NO_SUCH_PRESET");
}

TEST_F(KeeperTrialTest, WhatIsStoredIsThePresetsMeaning) {
  ASSERT_TRUE(house_
                  .Apply("credentials:\n  t:\n    oauth: { preset: mine, params: { app: a }, "
                         "client_id: c, client_auth: none }\n")
                  .ok());
  const auto described = house_.Describe("t");
  ASSERT_TRUE(described.ok());
  EXPECT_TRUE(absl::StrContains(described->spec_yaml(), "token_url: https://a.h/z"))
      << described->spec_yaml();
  EXPECT_TRUE(absl::StrContains(described->spec_yaml(), "preset: mine"));
}

}  // namespace
}  // namespace keyturn::lifecycle

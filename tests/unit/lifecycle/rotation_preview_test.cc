// SPDX-License-Identifier: Apache-2.0
// What `rotate --dry-run` says, class by class.
#include "agent/lifecycle/rotation_preview.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace keyturn::lifecycle {
namespace {

using providers::ProviderClass;
using providers::Traits;

CredentialState State(bool has_key) {
  CredentialState state;
  state.record.name = "app/key";
  state.record.spec.set_provider("p");
  state.record.spec.mutable_rotate()->mutable_every()->set_seconds(86400);
  if (!has_key) return state;
  state.record.current_version = state.record.last_version = 4;
  store::VersionRecord version;
  version.number = 4;
  version.provider_key_id = "slot1";
  state.versions[4] = version;
  return state;
}

std::string Words(const CredentialState& state, const Traits& traits) {
  std::vector<std::string> words;
  for (const PreviewedStep& step : PreviewOf(state, traits, "agent")) words.push_back(step.step);
  return absl::StrJoin(words, " ");
}

std::string DetailOf(const CredentialState& state, const Traits& traits, const std::string& step) {
  std::string all;
  for (const PreviewedStep& one : PreviewOf(state, traits, "agent")) {
    if (one.step == step) absl::StrAppend(&all, one.detail, "\n");
  }
  return all;
}

TEST(RotationPreview, EachClassHasItsCalls) {
  const struct {
    ProviderClass provider_class;
    const char* rotation;
    const char* first_key;
  } cases[] = {
      {ProviderClass::kTagged, "list create verify promote wait revoke list",
       "list create verify promote"},
      {ProviderClass::kUntagged, "list create verify promote wait revoke list",
       "list create verify promote"},
      {ProviderClass::kListed, "list create verify promote wait revoke list",
       "list create verify promote"},
      {ProviderClass::kChosen, "list create verify promote wait revoke list",
       "list create verify promote"},
      {ProviderClass::kDualSlot, "list create verify promote wait revoke",
       "list create verify promote"},
      {ProviderClass::kRoll, "list create verify promote", "list create verify promote"},
      {ProviderClass::kSelfRoll, "list create verify promote", "list create verify promote"},
      {ProviderClass::kManual, "put verify promote wait revoke list", "put verify promote"},
  };
  for (const auto& c : cases) {
    Traits traits;
    traits.provider_class = c.provider_class;
    EXPECT_EQ(Words(State(true), traits), c.rotation) << ProviderClassName(c.provider_class);
    EXPECT_EQ(Words(State(false), traits), c.first_key) << ProviderClassName(c.provider_class);
  }
}

TEST(RotationPreview, CallsThatDoNotExistAreNotMade) {
  Traits traits;
  traits.can_list = traits.can_verify = traits.can_revoke = false;
  EXPECT_EQ(Words(State(true), traits), "create promote wait");
  traits = {};
  traits.cached_for = absl::Minutes(11);
  EXPECT_EQ(Words(State(true), traits), "list create verify promote wait revoke list wait verify");
}

TEST(RotationPreview, SaysWhatItWouldDoToWhat) {
  Traits traits;
  traits.provider_class = ProviderClass::kTagged;
  traits.key_limit = 2;
  EXPECT_TRUE(absl::StrContains(DetailOf(State(true), traits, "list"), "fewer than 2"));
  EXPECT_EQ(DetailOf(State(true), traits, "create"), "a key named kt-agent-...\n");
  EXPECT_EQ(DetailOf(State(true), traits, "promote"), "version 5 is handed out\n");
  EXPECT_EQ(DetailOf(State(true), traits, "wait"), "grace of 1h\n");
  EXPECT_EQ(DetailOf(State(true), traits, "revoke"), "version 4, key slot1\n");
  traits.provider_class = ProviderClass::kDualSlot;
  traits.slots = {"slot1", "slot2"};
  EXPECT_EQ(DetailOf(State(true), traits, "create"), "slot slot2 is regenerated\n");
  EXPECT_EQ(DetailOf(State(false), traits, "create"), "slot slot2 is regenerated\n")
      << "not the one that people tend to begin with";
  CredentialState without_id = State(true);
  without_id.versions[4].provider_key_id.clear();
  EXPECT_EQ(DetailOf(without_id, traits, "create"), "the slot that is not in use is regenerated\n");
  traits.provider_class = ProviderClass::kRoll;
  EXPECT_TRUE(absl::StrContains(DetailOf(State(true), traits, "create"), "dies at once"));

  CredentialState waits = State(true);
  v1::Grace* grace = waits.record.spec.mutable_rotate()->mutable_grace();
  grace->mutable_min()->set_seconds(60);
  grace->mutable_max()->set_seconds(7200);
  grace->set_wait_for(v1::CONSUMERS);
  EXPECT_EQ(DetailOf(waits, traits, "wait"), "") << "replaced in place";
  traits.provider_class = ProviderClass::kListed;
  EXPECT_EQ(DetailOf(waits, traits, "wait"),
            "grace of 1m, then until all consumers have moved on, at most 2h in all\n");
}

}  // namespace
}  // namespace keyturn::lifecycle

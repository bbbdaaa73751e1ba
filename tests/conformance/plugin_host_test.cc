// SPDX-License-Identifier: Apache-2.0
// The host of plugins against a real process that misbehaves: what it does then, what it says, and
// what the calls are told.
#include "agent/providers/plugin/plugin_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "absl/synchronization/notification.h"
#include "agent/base/error.h"
#include "agent/providers/plugin/plugin_registry.h"
#include "tests/conformance/plugin_house.h"

namespace keyturn::conformance {
namespace {

using base::CredentialValue;
using base::Secret;
using providers::CallResult;
using providers::Outcome;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

CredentialValue Admin() { return CredentialValue::Of(Secret("admin")); }

struct Created {
  CallResult call;
  std::optional<providers::MintedKey> key;
};

Created Create(providers::Provider& provider, const providers::NewKey& key = {}) {
  Created created;
  absl::Notification done;
  provider.Create(Admin(), key, [&](CallResult call, std::optional<providers::MintedKey> minted) {
    created = {std::move(call), std::move(minted)};
    done.Notify();
  });
  done.WaitForNotification();
  return created;
}

std::pair<CallResult, std::vector<providers::ListedKey>> List(providers::Provider& provider) {
  std::pair<CallResult, std::vector<providers::ListedKey>> got;
  absl::Notification done;
  provider.List(Admin(), [&](CallResult call, std::vector<providers::ListedKey> keys) {
    got = {std::move(call), std::move(keys)};
    done.Notify();
  });
  done.WaitForNotification();
  return got;
}

std::shared_ptr<providers::Provider> MakeProvider(PluginHouse& house,
                                                  const std::string& provider_class = "TAGGED") {
  auto made = house.host().Make(PluginHouse::Config(provider_class));
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *made : nullptr;
}

TEST(PluginHost, WhatAPluginIsStartedWithIsOursAlone) {
  setenv("KEYTURN_TEST_CANARY", "inherited", 1);
  PluginHouse house({.mode = "report"});
  house.Start();
  ASSERT_TRUE(house.WaitReady());
  EXPECT_TRUE(house.log().WaitFor({"session 1"}));
  EXPECT_EQ(house.log().Count({"inherited"}), 0);
  EXPECT_EQ(house.log().Count({"variable "}), 4) << "PATH, LANG, HOME, TMPDIR";
  EXPECT_EQ(house.log().Count({"descriptor "}), 0);
  EXPECT_EQ(house.log().Count({"blocked "}), 0);
  EXPECT_EQ(house.log().Count({"ignored "}), 0);
  EXPECT_EQ(house.log().Count({"directory " + house.directory().File("plugins/fake")}), 1);
  EXPECT_EQ(house.log().Count({"\"argument --socket\""}), 1);
}

TEST(PluginHost, AChosenSecretTravelsAndComesBack) {
  PluginHouse house;
  house.Start();
  const auto provider = MakeProvider(house, "CHOSEN");
  ASSERT_NE(provider, nullptr);
  EXPECT_EQ(provider->traits().provider_class, providers::ProviderClass::kChosen);
  providers::NewKey key;
  key.secret = Secret("canary-chosen-secret");
  const Created created = Create(*provider, key);
  EXPECT_EQ(created.call.outcome, Outcome::kOk);
  ASSERT_TRUE(created.key.has_value());
  EXPECT_EQ(created.key->value.Primary()->Reveal(), "canary-chosen-secret");
  EXPECT_EQ(house.log().Count({"canary"}), 0);
}

TEST(PluginHost, AProgramOfAnotherChecksumIsNotStartedUntilItIsMended) {
  PluginHouse house;
  providers::PluginSpec spec = house.FakeSpec();
  spec.command[0] = house.directory().File("copy");
  std::filesystem::copy_file(FakePluginPath(), spec.command[0]);
  std::ofstream(spec.command[0], std::ios::app) << "x";
  PluginHouse tampered({.spec = spec});
  tampered.Start();
  EXPECT_TRUE(tampered.WaitDown("checksum_mismatch"));
  EXPECT_EQ(tampered.log().Count({"plugin_ready"}), 0);
  EXPECT_EQ(tampered.log().Count({"checksum_mismatch", Sha256Of(spec.command[0])}),
            tampered.log().Count({"checksum_mismatch"}));
  EXPECT_THAT(std::string(tampered.host().Make(PluginHouse::Config("TAGGED")).status().message()),
              HasSubstr("checksum_mismatch"));
  std::filesystem::copy_file(FakePluginPath(), spec.command[0] + ".new");
  std::filesystem::rename(spec.command[0] + ".new", spec.command[0]);
  EXPECT_TRUE(tampered.WaitResolved());
  EXPECT_NE(MakeProvider(tampered), nullptr);
}

TEST(PluginHost, ACrashInACallIsADoubtWhereItMattersAndThePluginComesBack) {
  PluginHouse house({.mode = "crash_in_create"});
  house.Start();
  const auto provider = MakeProvider(house);
  const Created created = Create(*provider);
  EXPECT_EQ(created.call.outcome, Outcome::kUnknown);
  EXPECT_EQ(created.call.cause, "plugin_lost");
  EXPECT_TRUE(house.WaitDown("exited"));
  EXPECT_EQ(house.log().Count({"PROVIDER_DOWN", "signal_6"}), 1);
  EXPECT_TRUE(house.WaitReady(2));
  EXPECT_TRUE(house.WaitResolved());
  EXPECT_EQ(List(*provider).first.outcome, Outcome::kOk) << "the provider survives its process";
}

TEST(PluginHost, ACrashInACallWithoutEffectIsTransient) {
  PluginHouse house({.mode = "crash_in_list"});
  house.Start();
  EXPECT_EQ(List(*MakeProvider(house)).first.outcome, Outcome::kTransient);
}

TEST(PluginHost, WhileItIsDownCallsAreRefusedWithoutDoubtAndDescriptionsAreRemembered) {
  PluginHouse house;
  providers::PluginSpec spec = house.FakeSpec();
  spec.command[0] = house.directory().File("copy");
  std::filesystem::copy_file(FakePluginPath(), spec.command[0]);
  PluginHouse other({.spec = spec});
  other.Start();
  ASSERT_NE(MakeProvider(other), nullptr);
  std::filesystem::remove(spec.command[0]);
  // The process goes; nothing can be started in its place.
  pid_t pid = 0;
  for (const std::string& line : other.log().lines()) {
    const size_t at = line.find("\"pid\":");
    if (at != std::string::npos) pid = static_cast<pid_t>(std::stol(line.substr(at + 6)));
  }
  ASSERT_GT(pid, 0);
  kill(pid, SIGKILL);
  ASSERT_TRUE(other.WaitDown("not_startable"));
  const auto provider = MakeProvider(other);
  ASSERT_NE(provider, nullptr);
  const Created created = Create(*provider);
  EXPECT_EQ(created.call.outcome, Outcome::kTransient);
  EXPECT_EQ(created.call.cause, "plugin_down");
  EXPECT_EQ(other.host().Make(PluginHouse::Config("LISTED")).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(PluginHost, APluginThatHangsIsStartedAnew) {
  PluginHouse house({.mode = "hang", .timeout = absl::Milliseconds(200)});
  house.Start();
  const auto provider = MakeProvider(house);
  EXPECT_EQ(Create(*provider).call.outcome, Outcome::kUnknown);
  EXPECT_EQ(Create(*provider).call.cause, "timeout");
  EXPECT_EQ(List(*provider).first.outcome, Outcome::kTransient);
  EXPECT_TRUE(house.WaitDown("hangs"));
  EXPECT_TRUE(house.WaitReady(2));
}

TEST(PluginHost, AnotherProcessOnTheSocketIsNotSpokenTo) {
  PluginHouse house({.mode = "stand_in"});
  house.Start();
  EXPECT_TRUE(house.WaitDown("wrong_peer"));
  EXPECT_EQ(house.log().Count({"plugin_ready"}), 0);
}

TEST(PluginHost, WhatSpeaksAnotherLanguageIsDown) {
  PluginHouse house({.mode = "garbage", .start_timeout = absl::Seconds(3)});
  house.Start();
  EXPECT_TRUE(house.WaitDown("no_answer"));
}

TEST(PluginHost, WhatNeverListensIsDown) {
  PluginHouse house({.mode = "deaf", .start_timeout = absl::Milliseconds(300)});
  house.Start();
  EXPECT_TRUE(house.WaitDown("start_timeout", 2)) << "it is tried again";
}

TEST(PluginHost, WhatEndsAtOnceIsTriedAgainAndSaysHowItEnded) {
  PluginHouse house({.mode = "exit"});
  house.Start();
  EXPECT_TRUE(house.WaitDown("exited", 3));
  EXPECT_GE(house.log().Count({"exit_3"}), 3);
  EXPECT_EQ(house.failures().List().size(), 1u) << "one failure, of many attempts";
}

TEST(PluginHost, AReplyThatIsTooLargeOrOutOfBoundsIsUnreadable) {
  PluginHouse huge({.mode = "huge"});
  huge.Start();
  const auto [call, keys] = List(*MakeProvider(huge));
  EXPECT_EQ(call.outcome, Outcome::kTransient);
  EXPECT_EQ(call.cause, "too_large");
  PluginHouse odd({.mode = "bad_id"});
  odd.Start();
  const Created created = Create(*MakeProvider(odd));
  EXPECT_EQ(created.call.outcome, Outcome::kUnknown) << "the key may be there";
  EXPECT_EQ(created.call.cause, "unreadable_reply");
}

TEST(PluginHost, WhatItPrintsIsMarkedAndBounded) {
  PluginHouse house({.mode = "chatter"});
  house.Start();
  ASSERT_TRUE(house.WaitReady());
  EXPECT_TRUE(house.log().WaitFor({"plugin_output", "line 5\""}));
  house.host().Stop();
  EXPECT_LE(house.log().Count({"plugin_output"}), 200);
  EXPECT_GE(house.log().Count({"plugin_output_dropped", "\"plugin\":\"fake\""}), 1);
  EXPECT_EQ(house.log().Count({"plugin_output", std::string(1000, 'y') + "..."}), 1);
  EXPECT_EQ(house.log().Count({std::string(1001, 'y')}), 0);
  EXPECT_EQ(house.log().Count({"two\\u0001kinds"}), 1);
}

TEST(PluginHost, StopEndsThePlugin) {
  PluginHouse house;
  house.Start();
  ASSERT_TRUE(house.WaitReady());
  ASSERT_EQ(access(house.directory().File("plugins/fake/provider.sock").c_str(), F_OK), 0);
  pid_t pid = 0;
  for (const std::string& line : house.log().lines()) {
    const size_t at = line.find("\"pid\":");
    if (at != std::string::npos) pid = static_cast<pid_t>(std::stol(line.substr(at + 6)));
  }
  ASSERT_EQ(kill(pid, 0), 0);
  house.host().Stop();
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(house.log().Count({"PROVIDER_DOWN"}), 0) << "an end that we asked for is no failure";
}

TEST(PluginHost, MistakesInTheResourceNameTheirField) {
  PluginHouse house;
  house.Start();
  const auto field = [&](const providers::ProviderConfig& config) {
    const auto made = house.host().Make(config);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    for (const auto& [key, value] : base::MetadataOf(made.status())) {
      if (key == "field") return value;
    }
    return std::string();
  };
  providers::ProviderConfig config = PluginHouse::Config("NONSENSE");
  EXPECT_EQ(field(config), "params.class");
  EXPECT_THAT(std::string(house.host().Make(config).status().message()),
              HasSubstr("is no class at all"));
  config = PluginHouse::Config("TAGGED");
  config.manager.clear();
  EXPECT_EQ(field(config), "manager");
  config.plugin = "other";
  EXPECT_EQ(field(config), "plugin");
  PluginHouse wrong({.mode = "no_list"});
  wrong.Start();
  EXPECT_TRUE(
      absl::IsFailedPrecondition(wrong.host().Make(PluginHouse::Config("LISTED")).status()));
}

class NoRecipes final : public providers::Registry {
 public:
  absl::StatusOr<std::shared_ptr<providers::Provider>> Make(
      const providers::ProviderConfig&) const override {
    return absl::NotFoundError("a recipe was asked for");
  }
  std::vector<std::string> RecipeNames() const override { return {}; }
};

TEST(PluginRegistry, AResourceNamesARecipeOrAPlugin) {
  PluginHouse house;
  house.Start();
  const NoRecipes recipes;
  const providers::PluginRegistry registry(recipes, house.host());
  providers::ProviderConfig config = PluginHouse::Config("TAGGED");
  EXPECT_TRUE(registry.Make(config).ok());
  config.recipe = "some-recipe";
  EXPECT_TRUE(absl::IsInvalidArgument(registry.Make(config).status()));
  config.plugin.clear();
  EXPECT_TRUE(absl::IsNotFound(registry.Make(config).status()));
}

}  // namespace
}  // namespace keyturn::conformance

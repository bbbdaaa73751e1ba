// SPDX-License-Identifier: Apache-2.0
// Resource files: each mistake is said with its place, and what would change is said exactly.
#include "agent/lifecycle/resources.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/fake_provider.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"
#include "tests/fakes/test_store.h"

namespace keyturn::lifecycle {
namespace {

// A recipe of that name for each class.
class RecipeOfEachClass final : public providers::Registry {
 public:
  absl::StatusOr<std::shared_ptr<providers::Provider>> Make(
      const providers::ProviderConfig& config) const override {
    using providers::ProviderClass;
    for (const auto c : {ProviderClass::kUntagged, ProviderClass::kTagged, ProviderClass::kRoll,
                         ProviderClass::kSelfRoll, ProviderClass::kDualSlot}) {
      if (config.recipe != ProviderClassName(c) &&
          !(config.recipe == "known" && c == ProviderClass::kUntagged)) {
        continue;
      }
      fakes::FakeProvider::Options options;
      options.traits.provider_class = c;
      if (c == ProviderClass::kDualSlot) options.traits.slots = {"key1", "key2"};
      return std::shared_ptr<providers::Provider>(
          std::make_shared<fakes::FakeProvider>(options, clock_, executor_));
    }
    return base::WithReason(absl::InvalidArgumentError("no such recipe"), "X",
                            {{"field", "recipe"}});
  }
  std::vector<std::string> RecipeNames() const override { return {"known"}; }

 private:
  mutable fakes::SimulatedClock clock_;
  mutable fakes::SimulatedExecutor executor_{clock_};
};

class ResourcesTest : public testing::Test {
 protected:
  static v1::ApplyRequest Files(const std::vector<std::string>& yamls) {
    v1::ApplyRequest request;
    for (size_t i = 0; i < yamls.size(); ++i) {
      v1::SourceFile* file = request.add_files();
      file->set_name(absl::StrCat("f", i, ".yaml"));
      file->set_yaml(yamls[i]);
    }
    return request;
  }
  absl::StatusOr<v1::Resources> Read(const std::vector<std::string>& yamls) {
    return ReadResources(Files(yamls), ledger_, checks_);
  }
  std::string ErrorOf(const std::string& yaml) {
    return std::string(Read({yaml}).status().message());
  }
  void Hold(const std::string& yaml) {
    const auto resources = Read({yaml});
    ASSERT_TRUE(resources.ok()) << resources.status();
    store::Transaction transaction;
    for (const auto& [name, spec] : resources->providers()) {
      transaction.Put(store::ProviderRecord{name, spec});
    }
    for (const auto& [name, spec] : resources->credentials()) {
      store::CredentialRecord record;
      record.name = name;
      record.spec = spec;
      transaction.Put(record);
    }
    ASSERT_TRUE(ledger_.Commit(transaction).ok());
  }
  // With a first version.
  void StoreValue(store::CredentialRecord record) {
    record.current_version = record.last_version = 1;
    store::VersionRecord version;
    version.credential = record.name;
    version.number = 1;
    version.state = store::VersionState::kCurrent;
    store::Transaction transaction;
    transaction.Put(std::move(record));
    transaction.Put(version);
    ASSERT_TRUE(ledger_.Commit(transaction).ok());
  }

  // Why there may be keys of credential `a`.
  enum class KeysOfA { kVersion, kRotation, kTag };
  static constexpr KeysOfA kKeysOfA[] = {KeysOfA::kVersion, KeysOfA::kRotation, KeysOfA::kTag};
  void HoldKeys(KeysOfA keys) {
    store::Transaction transaction;
    if (keys == KeysOfA::kVersion) {
      store::VersionRecord version;
      version.credential = "a";
      version.number = 1;
      version.state = store::VersionState::kRetiring;
      transaction.Put(version);
    } else if (keys == KeysOfA::kRotation) {
      store::RotationRecord rotation;
      rotation.credential = "a";
      rotation.state = "creating";
      transaction.Put(rotation);
    } else {
      store::TagRecord tag;
      tag.credential = "a";
      tag.tag = "kt-1";
      transaction.Put(tag);
    }
    ASSERT_TRUE(ledger_.Commit(transaction).ok());
  }
  void DropKeys() {
    store::Transaction transaction;
    transaction.Delete(store::VersionKey("a", 1));
    transaction.Delete(store::RotationKey("a"));
    transaction.Delete(store::TagKey("a", "kt-1"));
    ASSERT_TRUE(ledger_.Commit(transaction).ok());
  }

  RecipeOfEachClass registry_;
  ResourceChecks checks_{registry_,
                         [](absl::string_view url) {
                           return absl::StartsWith(url, "https://")
                                      ? absl::OkStatus()
                                      : absl::InvalidArgumentError("must be https");
                         },
                         [](const v1::PolicySpec&) { return absl::OkStatus(); }};
  fakes::TestStore store_;
  Ledger ledger_{store_.store()};
};

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
constexpr char kProvider[] = "providers:\n  p: { recipe: known }\n";

TEST_F(ResourcesTest, MistakesAreSaidWithTheirPlace) {
  const std::pair<std::string, std::string> cases[] = {
      {"providers:\n  p: { recipe: none }\n", "f0.yaml:2:8: "},
      {"providers:\n  p: { recipe: known, manager: no/one }\n",
       "there is no credential \"no/one\""},
      {"providers:\n  P: { recipe: known }\n", "f0.yaml:2:3: "},
      {"credentials:\n  a: {}\n", "f0.yaml:2:3: "},
      {"credentials:\n  a: { static: {}, provider: p }\n", "exactly one of"},
      {"credentials:\n  a: { provider: none, rotate: { every: 1d } }\n",
       "there is no provider \"none\""},
      {"credentials:\n  a: { static: {}, rotate: { every: 1d } }\n", "f0.yaml:2:20: "},
      {"credentials:\n  a: { static: {}, exclusive: true }\n", "only means something beside"},
      {"credentials:\n  a: { static: {}, allow_gap: true }\n",
       "credentials.a.allow_gap: only means something beside `provider`"},
      {"credentials:\n  a: { static: {}, accept_loss: true }\n",
       "credentials.a.accept_loss: only means something beside `provider`"},
      {"credentials:\n  a: { static: {}, recovery: p }\n",
       "credentials.a.recovery: only means something beside `provider`"},
      {"credentials:\n  a: { recovery: p, oauth: { token_url: \"https://x\", client_id: c, grant: "
       "client_credentials, client_auth: none } }\n",
       "`recovery` does not go with `oauth`"},
      {absl::StrCat(kProvider, "credentials:\n  a: { provider: p }\n"), "`every` is needed"},
      {absl::StrCat(kProvider,
                    "credentials:\n  a:\n    provider: p\n    rotate:\n      every: 1h\n"
                    "      grace: 2h\n"),
       "f0.yaml:8:7: "},
      {absl::StrCat(kProvider,
                    "credentials:\n  a: { provider: p, rotate: { every: 1d, jitter: 80% } }\n"),
       "jitter is \"80%\""},
      {absl::StrCat(kProvider,
                    "credentials:\n  a: { provider: p, rotate: { every: 1d }, exclusive: "
                    "true }\n  b: { provider: p, rotate: { every: 1d } }\n"),
       "one of them is exclusive"},
      {"credentials:\n  a: { oauth: { token_url: \"https://x\", client_id: c, client_auth: none } "
       "}\n",
       "`grant` is needed"},
      {"credentials:\n  a: { oauth: { token_url: \"http://x\", client_id: c, grant: "
       "client_credentials, client_auth: none } }\n",
       "must be https"},
      {"credentials:\n  a: { oauth: { token_url: \"https://x\", client_id: c, grant: "
       "client_credentials } }\n",
       "`client_secret: { credential: NAME }` is needed"},
      {"credentials:\n  a: { oauth: { token_url: \"https://x\", client_id: c, grant: "
       "client_credentials, client_secret: { credential: s } } }\n",
       "there is no credential \"s\""},
      {"credentials:\n  a: { oauth: { token_url: \"https://x\", client_id: c, grant: "
       "client_credentials, client_auth: none, leeway: 5s } }\n",
       "oauth.leeway: only goes with the grants refresh_token"},
      {"credentials:\n  a: { oauth: { preset: none } }\n", "oauth.preset: there is no preset"},
      {"policies:\n  p: { allow: [read], on: [\"a/*\"] }\n", "none of them empty"},
      {"policies:\n  p: { principals: [ { unix: {} } ], allow: [read], on: [a] }\n",
       "f0.yaml:2:22: "},
      {"policies:\n  p: { principals: [ { unix: { user: u } } ], allow: [read], on: [A] }\n",
       "policies.p.on[0]"},
      {"credentials:\n  a: { statik: {} }\n", "statik"},
  };
  for (const auto& [yaml, expected] : cases) {
    const auto read = Read({yaml});
    EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << yaml;
    EXPECT_TRUE(absl::StrContains(read.status().message(), expected))
        << yaml << read.status().message() << "\nwanted: " << expected;
    EXPECT_TRUE(absl::StartsWith(read.status().message(), "f0.yaml:")) << read.status();
  }
}

TEST_F(ResourcesTest, AMistakeOfAPresetIsSaidWithItsFile) {
  auto preset = providers::ReadPreset(
      "preset: mine\ntitle: Mine\ndocs: https://example.com\ngrants: [client_credentials]\n"
      "oauth:\n  grant: client_credentials\n  token_url: https://x/token\n"
      "  default_lifetime: 1h\n"
      "  quirks: { errors: [ { pointer: nowhere, equals: a, means: invalid_grant } ] }\n",
      "/etc/presets/mine.yaml");
  ASSERT_TRUE(preset.ok()) << preset.status();
  checks_.presets.Add(*std::move(preset));
  const std::string use =
      "credentials:\n  a:\n    oauth:\n      preset: mine\n      client_id: c\n"
      "      client_auth: none\n";
  EXPECT_EQ(ErrorOf(use),
            "f0.yaml:3:5: credentials.a.oauth.quirks.errors[0].pointer: is no JSON Pointer, such "
            "as /error/code (so says the preset, /etc/presets/mine.yaml)");
  // One's own mistakes are one's own.
  const std::string own = ErrorOf(absl::StrCat(use, "      default_lifetime: 0s\n"));
  EXPECT_TRUE(absl::StrContains(own, "must be more than 0s")) << own;
  EXPECT_FALSE(absl::StrContains(own, "preset")) << own;
}

TEST_F(ResourcesTest, MistakesInASchedulePointAtTheField) {
  const std::pair<std::string, std::string> cases[] = {
      {"every: 1d, cron: \"0 3 * * *\"", "rotate.cron: does not go with `every`"},
      {"zone: Europe/Berlin, every: 1d", "rotate.zone: only goes with `cron`"},
      {"cron: \"0 25 * * *\"", "rotate.cron: the cron field hour is \"25\""},
      {"cron: \"0 3 30 2 *\"", "there is no such date"},
      {"cron: \"0 3 * * *\", zone: Mars/Base", "rotate.zone: zone \"Mars/Base\""},
      {"every: 1d, window: { days: [someday] }", "rotate.window.days: \"someday\" is not a day"},
      {"every: 1d, window: { from: \"3\" }", "rotate.window.from: \"3\""},
      {"every: 1d, window: { from: \"03:00\", to: \"03:00\" }", "rotate.window: begins and ends"},
      {"every: 1d, window: { zone: Mars/Base }", "rotate.window.zone: "},
      {"every: 1d, before_expiry: 0s", "rotate.before_expiry: must be more than 0s"},
      {"every: 1d, grace: { wait_for: consumers }", "rotate.grace: `max` is needed"},
      {"every: 1d, grace: { max: 2h }", "rotate.grace.max: only means something with `wait_for"},
      {"every: 1d, grace: { max: 30m, wait_for: consumers }",
       "rotate.grace.max: is less than `min`, which is 1h"},
      {"every: 1d, grace: { max: 1d, wait_for: consumers }",
       "rotate.grace.max: the grace (1d) must be shorter than `every` (1d)"},
      {"cron: \"*/30 * * * *\"",
       "rotate.cron: the grace (1h) must be shorter than the time between two fires of cron (30m)"},
  };
  for (const auto& [rotate, expected] : cases) {
    const std::string error = ErrorOf(
        absl::StrCat(kProvider, "credentials:\n  a: { provider: p, rotate: { ", rotate, " } }\n"));
    EXPECT_TRUE(absl::StrContains(error, expected)) << rotate << "\n" << error;
  }
  for (const char* rotate :
       {"cron: \"0 3 * * sun\", zone: Europe/Berlin, jitter: 5%, grace: 24h",
        "every: 90d, window: { days: [sat], from: \"02:00\", to: \"06:00\", zone: Europe/Berlin }",
        "every: 90d, before_expiry: 7d, grace: { min: 1h, max: 3d, wait_for: consumers }"}) {
    const std::string error = ErrorOf(
        absl::StrCat(kProvider, "credentials:\n  a: { provider: p, rotate: { ", rotate, " } }\n"));
    EXPECT_EQ(error, "") << rotate;
  }
}

TEST_F(ResourcesTest, OneNameInTwoFilesIsAMistakeOfTheSecond) {
  const auto read =
      Read({"credentials:\n  a: { static: {} }\n", "credentials:\n  a: { static: {} }\n"});
  EXPECT_TRUE(absl::StartsWith(read.status().message(), "f1.yaml:2:3: ")) << read.status();
}

TEST_F(ResourcesTest, FilesMayReferToEachOther) {
  EXPECT_TRUE(Read({"providers:\n  p: { recipe: known, manager: m }\n",
                    "credentials:\n  m: { static: {} }\n"})
                  .ok());
}

TEST_F(ResourcesTest, AKindCannotChange) {
  Hold("credentials:\n  a: { static: {} }\n");
  EXPECT_TRUE(absl::StrContains(
      ErrorOf(
          absl::StrCat(kProvider, "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n")),
      "another kind already"));
}

// A provider is applied alone, and its credentials are what it was applied for.
TEST_F(ResourcesTest, AProviderCannotChangeUnderItsCredentials) {
  Hold(
      "providers:\n  p: { recipe: untagged }\n  s: { recipe: self_roll }\n  r: { recipe: tagged }\n"
      "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n"
      "  b: { provider: s, recovery: r, allow_gap: true, rotate: { every: 1d } }\n");
  const std::string roll = ErrorOf("providers:\n  p: { recipe: roll }\n");
  EXPECT_TRUE(absl::StartsWith(roll, "f0.yaml:2:3: ")) << roll;
  EXPECT_TRUE(absl::StrContains(roll, "\"a\"")) << roll;
  EXPECT_TRUE(absl::StrContains(roll, "allow_gap: true")) << roll;
  EXPECT_TRUE(
      absl::StrContains(ErrorOf("providers:\n  p: { recipe: dual_slot }\n"), "exclusive: true"));
  const std::string recovery = ErrorOf("providers:\n  r: { recipe: dual_slot }\n");
  EXPECT_TRUE(absl::StrContains(recovery, "\"b\"")) << recovery;
  EXPECT_TRUE(absl::StrContains(recovery, "is of class dual_slot")) << recovery;
  EXPECT_EQ(ErrorOf("providers:\n  p: { recipe: tagged }\n"), "") << "it has no key yet";
  EXPECT_EQ(ErrorOf("providers:\n  p: { recipe: roll }\n"
                    "credentials:\n  a: { provider: p, allow_gap: true, rotate: { every: 1d } }\n"),
            "");
}

TEST_F(ResourcesTest, AProvidersClassStaysWhileThereAreKeysOfIt) {
  Hold(
      "providers:\n  p: { recipe: untagged }\n"
      "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n");
  const std::string other_class =
      "providers:\n  p: { recipe: tagged }\n"
      "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n";
  EXPECT_EQ(ErrorOf(other_class), "");
  for (const KeysOfA keys : kKeysOfA) {
    HoldKeys(keys);
    const std::string error = ErrorOf(other_class);
    EXPECT_TRUE(absl::StartsWith(error, "f0.yaml:2:3: ")) << error;
    EXPECT_TRUE(absl::StrContains(error, "class cannot change from untagged to tagged")) << error;
    EXPECT_TRUE(absl::StrContains(error, "\"a\"")) << error;
    EXPECT_EQ(ErrorOf("providers:\n  p: { recipe: known }\n"), "") << "another of the same class";
    DropKeys();
  }
}

TEST_F(ResourcesTest, TheProviderStaysWhileAKeyIsInTheMaking) {
  Hold(
      "providers:\n  p: { recipe: untagged }\n  q: { recipe: untagged, endpoint: \"https://q\" }\n"
      "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n");
  const std::string other = "credentials:\n  a: { provider: q, rotate: { every: 1d } }\n";
  EXPECT_EQ(ErrorOf(other), "");
  for (const KeysOfA keys : kKeysOfA) {
    HoldKeys(keys);
    EXPECT_TRUE(absl::StrContains(ErrorOf(other), "credentials.a.provider: cannot change while"))
        << ErrorOf(other);
    DropKeys();
  }
}

TEST_F(ResourcesTest, AnExclusiveCredentialSharesItsKeysUnderNoName) {
  const auto error = [this](const std::string& p, const std::string& q, const std::string& a,
                            const std::string& b) {
    return ErrorOf(
        absl::StrCat("providers:\n  p: { recipe: untagged, ", p, " }\n  q: { recipe: untagged, ", q,
                     " }\n  s: { recipe: self_roll }\n"
                     "credentials:\n  m: { static: {} }\n  a: { provider: p, ",
                     a, " rotate: { every: 1d } }\n  b: { ", b, ", rotate: { every: 1d } }\n"));
  };
  const std::string one = "endpoint: \"https://h\", params: { x: \"1\" }";
  for (const char* same : {
           "endpoint: \"https://h\", params: { x: \"1\" }",
           "endpoint: \"HTTPS://H/\", params: { x: \"1\", y: \"\" }",
           "endpoint: \"https://h:443\", params: { x: \"1\" }, manager: m",
           "endpoint: \"https://h\", params: { x: \"1\" }, timing: { settle: 5s }",
       }) {
    EXPECT_TRUE(absl::StrContains(error(one, same, "exclusive: true,", "provider: q"),
                                  "one of them is exclusive"))
        << same;
    EXPECT_TRUE(absl::StrContains(
        error(one, same, "exclusive: true,", "provider: s, recovery: q, allow_gap: true"),
        "one of them is exclusive"))
        << same;
    EXPECT_EQ(error(one, same, "", "provider: q"), "") << same;
  }
  for (const char* other : {
           "endpoint: \"https://h/b\", params: { x: \"1\" }",
           "endpoint: \"http://h\", params: { x: \"1\" }",
           "endpoint: \"https://h\", params: { x: \"2\" }",
       }) {
    EXPECT_EQ(error(one, other, "exclusive: true,", "provider: q"), "") << other;
  }
}

TEST_F(ResourcesTest, AProviderCannotMoveToTheKeysOfAnExclusiveCredential) {
  Hold(
      "providers:\n  p: { recipe: untagged, endpoint: \"https://p\" }\n"
      "  q: { recipe: untagged, endpoint: \"https://q\" }\n"
      "credentials:\n  a: { provider: p, exclusive: true, rotate: { every: 1d } }\n"
      "  b: { provider: q, rotate: { every: 1d } }\n");
  const std::string error =
      ErrorOf("providers:\n  q: { recipe: untagged, endpoint: \"https://p\" }\n");
  EXPECT_TRUE(absl::StartsWith(error, "f0.yaml:2:3: ")) << error;
  EXPECT_TRUE(absl::StrContains(error, "one of them is exclusive")) << error;
}

TEST_F(ResourcesTest, EverySecretOfATokenIsMissedUntilItHasAValue) {
  Hold(
      "credentials:\n  s: { static: {} }\n  k: { static: {} }\n"
      "  t:\n    oauth: { token_url: \"https://x\", grant: token_exchange, client_id: c,\n"
      "      client_secret: { credential: s }, exchange: { subject_token: { credential: k } } }\n");
  const v1::CredentialSpec& token = ledger_.Find("t")->record.spec;
  EXPECT_EQ(MissingSecret(token, ledger_), "s");
  StoreValue(ledger_.Find("s")->record);
  EXPECT_EQ(MissingSecret(token, ledger_), "k");
  StoreValue(ledger_.Find("k")->record);
  EXPECT_EQ(MissingSecret(token, ledger_), "");
}

TEST_F(ResourcesTest, ComparesFieldByField) {
  const std::string key = "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n";
  Hold(kProvider + key);
  const auto changes = [this](const std::string& yaml) {
    const auto wanted = Read({yaml});
    EXPECT_TRUE(wanted.ok()) << wanted.status();
    return Compare(*wanted, ledger_, kNow);
  };
  v1::ApplyResponse same = changes(kProvider + key);
  ASSERT_EQ(same.changes_size(), 2);
  EXPECT_EQ(same.changes(0).type(), "provider");
  EXPECT_EQ(same.changes(0).verb(), v1::ResourceChange::UNCHANGED);
  EXPECT_EQ(same.changes(1).verb(), v1::ResourceChange::UNCHANGED);
  v1::ApplyResponse other =
      changes("credentials:\n  b: { static: {} }\n  a: { provider: p, rotate: { every: 2d } }\n");
  ASSERT_EQ(other.changes_size(), 2);
  EXPECT_EQ(other.changes(0).name(), "a");
  EXPECT_EQ(other.changes(0).verb(), v1::ResourceChange::UPDATE);
  ASSERT_EQ(other.changes(0).fields_size(), 1);
  EXPECT_EQ(other.changes(0).fields(0), "rotate");
  EXPECT_EQ(other.changes(1).verb(), v1::ResourceChange::CREATE);
  EXPECT_TRUE(absl::StrContains(other.changes(1).note(), "keyturn put b"));
}

TEST_F(ResourcesTest, APlanSaysWhenTheNextRotationWouldBe) {
  Hold(absl::StrCat(kProvider,
                    "credentials:\n  a: { provider: p, rotate: { every: 10d, jitter: 0% } }\n"));
  store::CredentialRecord record = ledger_.Find("a")->record;
  record.last_rotated = kNow - absl::Hours(24);
  record.next_due = kNow + absl::Hours(9 * 24);
  StoreValue(record);
  const auto note = [this](const std::string& rotate) {
    const auto wanted = Read({absl::StrCat(
        kProvider, "credentials:\n  a: { provider: p, rotate: { ", rotate, " } }\n")});
    EXPECT_TRUE(wanted.ok()) << wanted.status();
    return Compare(*wanted, ledger_, kNow).changes(1).note();
  };
  EXPECT_EQ(note("every: 10d, jitter: 0%"), "");
  EXPECT_EQ(note("every: 2d, jitter: 0%"),
            "the next rotation is due 2023-11-15 22:13:20 UTC, was 2023-11-23 22:13:20 UTC");
  EXPECT_EQ(note("every: 12h, jitter: 0%"), "the next rotation is due at once");
  EXPECT_EQ(note("cron: \"0 3 * * *\", zone: Europe/Berlin"), "the next rotation is due at once");
  EXPECT_EQ(note("cron: \"0 3 * * sun\", zone: Europe/Berlin"),
            "the next rotation is due 2023-11-19 02:00:00 UTC, was 2023-11-23 22:13:20 UTC");
}

TEST_F(ResourcesTest, ExportGivesBackWhatWasApplied) {
  Hold(absl::StrCat(kProvider, "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n"));
  const v1::Resources all = Export(ledger_);
  EXPECT_EQ(all.providers().at("p").recipe(), "known");
  EXPECT_EQ(all.credentials().at("a").rotate().every().seconds(), 86400);
}

// A token whose exchange needs what these references say.
std::string Exchange(const std::string& name, const std::string& refs) {
  return absl::StrCat("  ", name,
                      ":\n    oauth: { token_url: \"https://x\", grant: token_exchange, client_id: "
                      "c, ",
                      refs, " }\n");
}
std::string Subject(const std::string& of) {
  return absl::StrCat("client_auth: none, exchange: { subject_token: { credential: ", of, " } }");
}

TEST_F(ResourcesTest, TokensThatNeedEachOtherAreRefused) {
  const std::string start = "credentials:\n  s: { static: {} }\n";
  const auto wrong = [&](const std::string& yaml, const std::string& field,
                         const std::string& cycle) {
    const std::string error = ErrorOf(start + yaml);
    EXPECT_TRUE(absl::StrContains(error, field)) << error;
    EXPECT_TRUE(absl::StrContains(error, cycle + ";")) << error;
  };
  wrong(Exchange("a", Subject("b")) + Exchange("b", Subject("a")), "a.oauth.exchange.subject_token",
        "a -> b -> a");
  wrong(Exchange("a", Subject("b")) + Exchange("b", Subject("c")) + Exchange("c", Subject("a")),
        "a.oauth.exchange.subject_token", "a -> b -> c -> a");
  // Whatever the token is needed for.
  wrong(Exchange("a",
                 "client_auth: none, exchange: { subject_token: { credential: s }, actor_token: { "
                 "credential: b } }") +
            Exchange("b",
                     "client_secret: { credential: a }, exchange: { subject_token: { credential: s "
                     "} }"),
        "a.oauth.exchange.actor_token", "a -> b -> a");
  wrong(Exchange("a", Subject("b")) +
            "  b:\n    oauth: { token_url: \"https://x\", grant: jwt_bearer, client_auth: none, "
            "assertion: { token: { credential: a } } }\n",
        "a.oauth.exchange.subject_token", "a -> b -> a");
  // What is not on the circle is not blamed.
  const std::string beside = ErrorOf(start + Exchange("a", Subject("b")) +
                                     Exchange("b", Subject("c")) + Exchange("c", Subject("b")));
  EXPECT_TRUE(absl::StrContains(beside, "b.oauth.exchange.subject_token")) << beside;
  EXPECT_TRUE(absl::StrContains(beside, "b -> c -> b;")) << beside;
  // With what is held.
  Hold(start + Exchange("b", Subject("s")));
  Hold("credentials:\n" + Exchange("a", Subject("b")));
  EXPECT_TRUE(
      absl::StrContains(ErrorOf("credentials:\n" + Exchange("b", Subject("a"))), "b -> a -> b;"));
  // One token may serve many, on ways of any length.
  EXPECT_EQ(ErrorOf(start + Exchange("b", Subject("s")) + Exchange("c", Subject("b")) +
                    Exchange("a",
                             "client_auth: none, exchange: { subject_token: { credential: b }, "
                             "actor_token: { credential: c } }")),
            "");
}

}  // namespace
}  // namespace keyturn::lifecycle

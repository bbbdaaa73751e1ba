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

class OneRecipe final : public providers::Registry {
 public:
  absl::StatusOr<std::shared_ptr<providers::Provider>> Make(
      const providers::ProviderConfig& config) const override {
    if (config.recipe == "known") return std::shared_ptr<providers::Provider>(known_);
    return base::WithReason(absl::InvalidArgumentError("no such recipe"), "X",
                            {{"field", "recipe"}});
  }
  std::vector<std::string> RecipeNames() const override { return {"known"}; }

 private:
  mutable fakes::SimulatedClock clock_;
  mutable fakes::SimulatedExecutor executor_{clock_};
  std::shared_ptr<fakes::FakeProvider> known_ =
      std::make_shared<fakes::FakeProvider>(fakes::FakeProvider::Options(), clock_, executor_);
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

  OneRecipe registry_;
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
       "only go with `grant: refresh_token`"},
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

TEST_F(ResourcesTest, ComparesFieldByField) {
  const std::string key = "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n";
  Hold(kProvider + key);
  const auto changes = [this](const std::string& yaml) {
    const auto wanted = Read({yaml});
    EXPECT_TRUE(wanted.ok()) << wanted.status();
    return Compare(*wanted, ledger_);
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

TEST_F(ResourcesTest, ExportGivesBackWhatWasApplied) {
  Hold(absl::StrCat(kProvider, "credentials:\n  a: { provider: p, rotate: { every: 1d } }\n"));
  const v1::Resources all = Export(ledger_);
  EXPECT_EQ(all.providers().at("p").recipe(), "known");
  EXPECT_EQ(all.credentials().at("a").rotate().every().seconds(), 86400);
}

}  // namespace
}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// Preset files: what is wrong with one is said with its place.
#include "agent/providers/presets.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::providers {
namespace {

constexpr char kGood[] =
    "preset: mine\n"
    "title: Mine\n"
    "docs: https://example.com\n"
    "params:\n"
    "  tenant: { required: true, about: a name, example: a }\n"
    "grants: [client_credentials]\n"
    "oauth:\n"
    "  grant: client_credentials\n"
    "  token_url: https://{tenant}.example.com/token\n";

TEST(Presets, MistakesAreSaidWithTheirPlace) {
  ASSERT_TRUE(ReadPreset(kGood, "dir/mine.yaml").ok()) << ReadPreset(kGood, "mine.yaml").status();
  struct Case {
    std::string from;
    std::string to;
    std::string expected;
  };
  const Case cases[] = {
      {"preset: mine", "preset: other", "mine.yaml:1:1: preset: must be the file's own name, mine"},
      {"title: Mine", "title: \"\"", "`title` is needed"},
      {"docs: https", "docs: http", "mine.yaml:3:1: docs: must be an https URL"},
      {"docs: https", "dogs: https", "dogs"},
      {"grants: [client_credentials]", "grants: [jwt_bearer]", "must name `oauth.grant`"},
      {"grants: [client_credentials]", "grants: []", "must name `oauth.grant`"},
      {"required: true, ", "required: true, default: x, ", "has no default"},
      {", example: a", "", "`example` is needed"},
      {"about: a name, ", "", "`about` is needed"},
      {"{tenant}", "{tennant}",
       "mine.yaml:9:3: oauth.token_url: there is no parameter \"tennant\""},
      {"{tenant}", "{tenant", "a brace that is not part"},
      {"{tenant}", "tenant", "params.tenant: is used nowhere"},
      {"  tenant:", "  Tenant:", "a parameter's name is of"},
      {"oauth:\n", "oauth:\n  client_id: x\n", "what only a credential can state"},
      {"oauth:\n", "oauth:\n  params: { a: b }\n", "what only a credential can state"},
  };
  for (const Case& c : cases) {
    const auto read = ReadPreset(absl::StrReplaceAll(kGood, {{c.from, c.to}}), "mine.yaml");
    EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << c.to;
    EXPECT_TRUE(absl::StrContains(read.status().message(), c.expected)) << read.status();
    EXPECT_TRUE(absl::StartsWith(read.status().message(), "mine.yaml")) << read.status();
  }
}

TEST(Presets, ALaterDirectoryReplacesAPresetOfTheSameName) {
  fakes::TemporaryDirectory first;
  fakes::TemporaryDirectory second;
  const auto write = [](const std::string& directory, const std::string& text) {
    std::ofstream(absl::StrCat(directory, "/mine.yaml")) << text;
  };
  write(first.path(), kGood);
  write(second.path(), absl::StrReplaceAll(kGood, {{"title: Mine", "title: Other"}}));
  const auto presets = Presets::Load({first.path(), second.path()});
  ASSERT_TRUE(presets.ok()) << presets.status();
  ASSERT_NE(presets->Find("mine"), nullptr);
  EXPECT_EQ(presets->Find("mine")->spec.title(), "Other");
  EXPECT_EQ(presets->Find("none"), nullptr);
  EXPECT_TRUE(absl::IsNotFound(Presets::Load({"/no/such/directory"}).status()));
}

}  // namespace
}  // namespace keyturn::providers

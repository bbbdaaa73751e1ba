// SPDX-License-Identifier: Apache-2.0
// What the command line makes of values for people and for scripts: durations, tables, errors,
// messages as JSON, and the forms of a secret value. All pure.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/duration_text.h"
#include "client/cli/error_report.h"
#include "client/cli/exit_code.h"
#include "client/cli/message_json.h"
#include "client/cli/program.h"
#include "client/cli/table.h"
#include "client/cli/value_output.h"
#include "client/lib/status_details.h"
#include "keyturn/v1/admin.pb.h"

namespace keyturn::cli {
namespace {

using ::testing::HasSubstr;

TEST(DurationTextTest, ReadsWhatResourceFilesHave) {
  EXPECT_EQ(*ParseDuration("90d"), absl::Hours(24 * 90));
  EXPECT_EQ(*ParseDuration("1h30m"), absl::Minutes(90));
  EXPECT_EQ(*ParseDuration("5s"), absl::Seconds(5));
  EXPECT_EQ(*ParseDuration("1m250ms"), absl::Minutes(1) + absl::Milliseconds(250));
}

TEST(DurationTextTest, RefusesWhatIsNone) {
  for (const char* text :
       {"", "5", "s", "5x", "-5s", "5s5m", "5m5m", "1.5h", " 5s", "5s ", "9999999999d", "5S"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseDuration(text).status())) << text;
  }
}

TEST(DurationTextTest, WritesTheTwoLargestUnits) {
  EXPECT_EQ(ReadableDuration(absl::Hours(76) + absl::Minutes(59)), "3d 4h");
  EXPECT_EQ(ReadableDuration(absl::Hours(72) + absl::Seconds(5)), "3d");
  EXPECT_EQ(ReadableDuration(absl::Minutes(12)), "12m");
  EXPECT_EQ(ReadableDuration(absl::Milliseconds(450)), "450ms");
  EXPECT_EQ(ReadableDuration(absl::Milliseconds(2450)), "2s");
  EXPECT_EQ(ReadableDuration(absl::ZeroDuration()), "0s");
  EXPECT_EQ(ReadableDuration(-absl::Seconds(5)), "-5s");
  EXPECT_EQ(ReadableDuration(absl::InfiniteDuration()), "forever");
}

TEST(DurationTextTest, PlacesTimesBesideThePresent) {
  const absl::Time now = absl::FromUnixSeconds(1'000'000'000);
  EXPECT_EQ(FormatRelative(now + absl::Minutes(12), now), "in 12m");
  EXPECT_EQ(FormatRelative(now - absl::Hours(100), now), "4d 4h ago");
  EXPECT_EQ(FormatRelative(now + absl::Milliseconds(300), now), "now");
  EXPECT_EQ(FormatRfc3339(now), "2001-09-09T01:46:40Z");
  EXPECT_EQ(FormatLocal(now, absl::FixedTimeZone(3600)), "2001-09-09 02:46:40 +01");
}

TEST(TableTest, AlignsAndLeavesOutEmptyColumns) {
  Table table({"NAME", "NEVER", "NOTE"});
  table.Add({"team/long-name", "", ""});
  table.Add({"é/x", "", "a note"});
  EXPECT_EQ(table.Render(false),
            "NAME            NOTE\n"
            "team/long-name  -\n"
            "é/x             a note\n");
}

TEST(TableTest, BoldIsForTheHeaderAlone) {
  Table table({"A"});
  table.Add({"x"});
  EXPECT_EQ(table.Render(true), "\x1b[1mA\x1b[0m\nx\n");
}

TEST(TableTest, CellsCannotSteerTheTerminal) {
  Table table({"A", "B"});
  table.Add({"\x1b[31mred", "two\nlines"});
  EXPECT_EQ(table.Render(false), "A         B\n?[31mred  two lines\n");
}

TEST(TableTest, FactsWithoutAValueAreLeftOut) {
  Facts facts;
  facts.Add("name", "x");
  facts.Add("nothing", "");
  facts.Add("long name", "y");
  EXPECT_EQ(facts.Render(), "name:      x\nlong name: y\n");
}

TEST(ExitCodeTest, EachKindOfErrorHasItsOwn) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeFor(absl::InternalError("")), 1);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("")), 1);
  EXPECT_EQ(ExitCodeFor(absl::NotFoundError("")), 3);
  EXPECT_EQ(ExitCodeFor(absl::PermissionDeniedError("")), 4);
  EXPECT_EQ(ExitCodeFor(absl::FailedPreconditionError("")), 6);
  EXPECT_EQ(ExitCodeFor(client::Unreachable("no socket")), 5);
  EXPECT_EQ(ExitCodeFor(client::Unreachable("closed to you", /*denied=*/true)), 4);
}

TEST(ErrorReportTest, SaysWhatFailedAndWhatNext) {
  EXPECT_EQ(ErrorText({.what = "cannot get 'a/b'", .name = "a/b"},
                      absl::NotFoundError("no credential 'a/b'")),
            "keyturn: cannot get 'a/b': no credential 'a/b'\n"
            "next: keyturn list shows the names there are\n");
}

TEST(ErrorReportTest, PlacesInFilesStandFirst) {
  EXPECT_THAT(ErrorText({.what = "cannot apply", .message_has_place = true},
                        absl::InvalidArgumentError("x.yaml:3:5: unknown key 'evry'")),
              ::testing::StartsWith("x.yaml:3:5: unknown key 'evry'\nnext: "));
}

TEST(ErrorReportTest, WhatComesFromElsewhereCannotSteerTheTerminal) {
  EXPECT_THAT(ErrorText({.what = "w"}, absl::InternalError("\x1b]0;title\x07")),
              HasSubstr("w: ?]0;title?"));
}

TEST(MessageJsonTest, KeysAreThoseOfTheProto) {
  v1::CredentialSummary summary;
  summary.set_name("team/key");
  summary.set_kind(v1::OAUTH_TOKEN);
  summary.set_current_version(18'000'000'000'000'000'000u);
  summary.mutable_expires_at()->set_seconds(1'000'000'000);
  summary.mutable_runway()->set_seconds(90);
  const nlohmann::ordered_json json = ToJson(summary);
  EXPECT_EQ(json["name"], "team/key");
  EXPECT_EQ(json["kind"], "oauth_token");
  EXPECT_EQ(json["current_version"], 18'000'000'000'000'000'000u);
  EXPECT_EQ(json["expires_at"], "2001-09-09T01:46:40Z");
  EXPECT_EQ(json["runway"], "90s");
  EXPECT_TRUE(json["next_at"].is_null());
  EXPECT_TRUE(json["health"].is_null());
  EXPECT_EQ(json.size(), 13u);
}

TEST(MessageJsonTest, ListsAreListsEvenWhenEmpty) {
  v1::ListResponse list;
  EXPECT_EQ(ToJson(list).dump(), R"({"credentials":[]})");
  v1::ResourceChange change;
  change.set_verb(v1::ResourceChange::UPDATE);
  change.add_fields("rotate.every");
  EXPECT_EQ(ToJson(change)["verb"], "update");
  EXPECT_EQ(ToJson(change)["fields"], nlohmann::json::array({"rotate.every"}));
}

Credential Sample() {
  Credential credential;
  credential.name = "aws/up-loader";
  credential.kind = CredentialKind::kStatic;
  credential.version = 4;
  credential.fields.push_back({"id", SecretString("AK\"1"), false});
  credential.fields.push_back({"secret", SecretString("it's\n\\"), true});
  credential.fields.push_back({"blob", SecretString(absl::string_view("\xff\x00", 2)), true});
  credential.primary = "secret";
  return credential;
}

TEST(ValueOutputTest, JsonIsReadBackAsItWas) {
  const SecretString text = ValueAsJson(Sample());
  const auto json = nlohmann::json::parse(std::string(text.Reveal()));
  EXPECT_EQ(json["fields"]["id"], "AK\"1");
  EXPECT_EQ(json["fields"]["secret"], "it's\n\\");
  EXPECT_EQ(json["fields_base64"]["blob"], "/wA=");
  EXPECT_EQ(json["version"], 4);
  EXPECT_EQ(json["kind"], "static");
  EXPECT_TRUE(json["expires_at"].is_null());
}

TEST(ValueOutputTest, EnvironmentIsQuotedForAShell) {
  Credential credential = Sample();
  EXPECT_TRUE(absl::IsInvalidArgument(ValueAsEnvironment(credential).status()));  // the NUL
  credential.fields.pop_back();
  EXPECT_EQ(ValueAsEnvironment(credential)->Reveal(),
            "AWS_UP_LOADER_ID='AK\"1'\nAWS_UP_LOADER='it'\\''s\n\\'\n");
}

TEST(ValueOutputTest, HeaderIsOneLine) {
  Credential credential;
  credential.name = "team/key";
  credential.fields.push_back({"key", SecretString("v"), true});
  credential.primary = "key";
  EXPECT_TRUE(absl::IsFailedPrecondition(ValueAsHeader(credential).status()));
  credential.header_name = "Authorization";
  credential.header_format = "Bearer {value}";
  EXPECT_EQ(ValueAsHeader(credential)->Reveal(), "Authorization: Bearer v\n");
}

TEST(NearestCommandTest, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> commands = {"list", "rotate", "get", "__complete"};
  EXPECT_EQ(NearestCommand("lsit", commands), "list");
  EXPECT_EQ(NearestCommand("rotat", commands), "rotate");
  EXPECT_EQ(NearestCommand("frobnicate", commands), "");
  EXPECT_EQ(NearestCommand("__complet", commands), "");
}

}  // namespace
}  // namespace keyturn::cli

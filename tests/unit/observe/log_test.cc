// SPDX-License-Identifier: Apache-2.0
// A log line is one line of JSON, whatever is written into it.
#include "agent/observe/log.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace keyturn::observe {
namespace {

const absl::Time kTime = absl::FromUnixMillis(1'767'614'400'123);

TEST(Log, ALineHoldsTimeLevelEventAndFieldsInOrder) {
  EXPECT_EQ(FormatLine(kTime, Level::kWarning, "started",
                       {{"name", "a"}, {"count", 3}, {"share", 0.5}, {"on", true}}),
            R"({"time":"2026-01-05T12:00:00.123Z","level":"warning","event":"started",)"
            R"("name":"a","count":3,"share":0.5,"on":true})");
}

TEST(Log, HostileTextStaysOneLineOfValidJson) {
  const std::string hostile = "a\n\"},{\"level\":\"error\x01\xff\xc3";
  const std::string line = FormatLine(kTime, Level::kInfo, "x", {{"name", hostile}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto json = nlohmann::json::parse(line, nullptr, false);
  ASSERT_TRUE(json.is_object()) << line;
  EXPECT_EQ(json["level"], "info");
  EXPECT_EQ(json["name"].get<std::string>().substr(0, 3), "a\n\"");
}

TEST(Log, OfFieldsOfOneNameTheLastWins) {
  const auto json = nlohmann::json::parse(
      FormatLine(kTime, Level::kInfo, "x", {{"name", "one"}, {"name", "two"}}));
  EXPECT_EQ(json["name"], "two");
}

TEST(Log, TimesAreRfc3339) {
  const auto json =
      nlohmann::json::parse(FormatLine(kTime, Level::kInfo, "x", {{"at", kTime + absl::Hours(1)}}));
  EXPECT_EQ(json["at"], "2026-01-05T13:00:00.123Z");
}

TEST(Log, KnowsItsLevels) {
  Level level = Level::kError;
  EXPECT_TRUE(ParseLevel("debug", level));
  EXPECT_EQ(level, Level::kDebug);
  EXPECT_FALSE(ParseLevel("DEBUG", level));
  EXPECT_FALSE(ParseLevel("", level));
  EXPECT_EQ(level, Level::kDebug) << "changed by a level that is none";
}

}  // namespace
}  // namespace keyturn::observe

// SPDX-License-Identifier: Apache-2.0
// Names, globs and identifiers.
#include "agent/base/ids.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/fakes/seeded_random.h"

namespace keyturn::base {
namespace {

TEST(Ids, AreSixteenSafeCharactersAndDiffer) {
  fakes::SeededRandom random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = NewId(random);
    EXPECT_EQ(id.size(), 16u);
    EXPECT_EQ(id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567"), std::string::npos) << id;
    EXPECT_TRUE(seen.insert(id).second);
  }
}

TEST(Names, ForWhatTheyMayHold) {
  for (const char* good : {"a", "a/b", "team/my-key_1.v2", "a/b/c/d", "...", "a/..."}) {
    EXPECT_TRUE(CheckName("the name", good).ok()) << good;
  }
  EXPECT_TRUE(CheckName("the name", std::string(253, 'a')).ok());
  EXPECT_FALSE(CheckName("the name", std::string(254, 'a')).ok());
  for (const char* bad : {"", "/", "a/", "/a", "a//b", "A", "a b", "a/../b", ".", "..", "a/.",
                          "\xc3\xa4", "a*", "a\n", "a%2fb"}) {
    EXPECT_FALSE(CheckName("the name", bad).ok()) << bad;
  }
}

TEST(Globs, StayWithinASegmentUnlessTheyAreDoubleStars) {
  EXPECT_TRUE(GlobMatches("a/*", "a/b"));
  EXPECT_FALSE(GlobMatches("a/*", "a/b/c"));
  EXPECT_FALSE(GlobMatches("a/*", "a"));
  EXPECT_TRUE(GlobMatches("a/**", "a"));
  EXPECT_TRUE(GlobMatches("a/**", "a/b/c"));
  EXPECT_TRUE(GlobMatches("**/c", "a/b/c"));
  EXPECT_TRUE(GlobMatches("**", "a/b"));
  EXPECT_FALSE(GlobMatches("a", "b"));
  EXPECT_FALSE(GlobMatches("team*", "team/a"));
  EXPECT_TRUE(GlobMatches("t?am/*-key", "team/my-key"));
  EXPECT_FALSE(GlobMatches("a.b", "axb"));
}

// The definition, as slowly as it reads.
bool NaiveSegment(const std::string& glob, const std::string& text) {
  if (glob.empty()) return text.empty();
  if (glob[0] == '*') {
    return NaiveSegment(glob.substr(1), text) ||
           (!text.empty() && NaiveSegment(glob, text.substr(1)));
  }
  return !text.empty() && (glob[0] == '?' || glob[0] == text[0]) &&
         NaiveSegment(glob.substr(1), text.substr(1));
}
bool Naive(const std::vector<std::string>& glob, const std::vector<std::string>& path, size_t g = 0,
           size_t p = 0) {
  if (g == glob.size()) return p == path.size();
  if (glob[g] == "**") {
    return Naive(glob, path, g + 1, p) || (p < path.size() && Naive(glob, path, g, p + 1));
  }
  return p < path.size() && NaiveSegment(glob[g], path[p]) && Naive(glob, path, g + 1, p + 1);
}

RC_GTEST_PROP(Globs, AgreeWithTheirDefinition, ()) {
  // Few letters and short lists, so that globs often match.
  const auto segment = [](const char* letters) {
    return rc::gen::resize(
        4, rc::gen::container<std::string>(rc::gen::elementOf(std::string(letters))));
  };
  auto glob = *rc::gen::resize(5, rc::gen::container<std::vector<std::string>>(rc::gen::oneOf(
                                      segment("ab*?"), rc::gen::just(std::string("**")))));
  auto path = *rc::gen::resize(4, rc::gen::container<std::vector<std::string>>(segment("ab")));
  glob.insert(glob.begin(), *segment("ab*?"));  // neither is ever empty
  path.insert(path.begin(), *segment("ab"));
  RC_ASSERT(GlobMatches(absl::StrJoin(glob, "/"), absl::StrJoin(path, "/")) == Naive(glob, path));
}

TEST(Globs, ManyStarsDoNotTakeForEver) {
  std::string glob, name;
  for (int i = 0; i < 60; ++i) glob += "**/a*a*a*/";
  for (int i = 0; i < 120; ++i) name += "aaaaaaaaaaaa/";
  EXPECT_FALSE(GlobMatches(glob + "b", name + "c"));
}

}  // namespace
}  // namespace keyturn::base

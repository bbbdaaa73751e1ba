// SPDX-License-Identifier: Apache-2.0
// What a recipe must say, and where the reader points when it does not.
#include "agent/providers/recipe/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "agent/base/file_io.h"

namespace keyturn::providers {
namespace {

using testing::HasSubstr;

constexpr char kGood[] = R"(recipe: good
class: tagged
params:
  org: { required: true }
  size: { default: "5", format: number }
manager_fields: [user]
headers: { X-Org: "{params.org}" }
create:
  path: /keys/{params.org}
  json: { name: "{tag}", n: 1 }
  extract: { id: /id, value: /secret, fields: { extra: /extra } }
  outcomes:
    - { status: [2xx], is: ok }
list:
  path: /keys
  extract: { items: /keys, id: /id, tag: /name }
  outcomes: [ { status: ["200"], is: ok } ]
verify:
  path: /me
  headers: { X-Key: "{key}", X-Extra: "{key.extra}" }
  outcomes: [ { status: ["200"], is: ok } ]
revoke:
  path: /keys/{key.id}
  outcomes: [ { status: [2xx], match: [ { at: /a~1b, equals: x } ], is: ok } ]
)";

std::string ErrorOf(const std::string& from, const std::string& to) {
  const std::string text = absl::StrReplaceAll(kGood, {{from, to}});
  EXPECT_NE(text, kGood) << from;
  const auto recipe = ReadRecipe(text, "dir/good.yaml");
  EXPECT_EQ(recipe.status().code(), absl::StatusCode::kInvalidArgument) << to;
  return std::string(recipe.status().message());
}

TEST(Recipe, ReadsAGoodOne) {
  const auto recipe = ReadRecipe(kGood, "dir/good.yaml");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ((*recipe)->traits.provider_class, ProviderClass::kTagged);
  EXPECT_EQ((*recipe)->create->method, "POST");
  EXPECT_EQ((*recipe)->revoke->method, "DELETE");
  EXPECT_TRUE((*recipe)->traits.can_verify);
  EXPECT_EQ((*recipe)->traits.tag_max_length, 64U);
  EXPECT_FALSE((*recipe)->needs_manager);
}

TEST(Recipe, PointsAtTheMistake) {
  const struct {
    const char* from;
    const char* to;
    const char* expected;
  } cases[] = {
      {"/keys/{params.org}", "/keys/{params.orgg}",
       "dir/good.yaml:9:3: create.path: unknown placeholder {params.orgg}; known here: "
       "{params.org}, {params.size}, {manager}, {manager.user}, {tag}"},
      {"name: \"{tag}\"", "name: \"{tag}{key}\"", "dir/good.yaml:10:3: create.json: unknown"},
      {"name: \"{tag}\"", "name: x", "does not use {tag}"},
      {"/keys/{key.id}", "/keys/{keys}", "revoke.path: unknown placeholder {keys}"},
      {"X-Key: \"{key}\"", "X-Key: \"{manager}\"", "verify.headers.X-Key: unknown placeholder"},
      {"X-Extra: \"{key.extra}\"", "X-Extra: \"{key.more}\"", "unknown placeholder {key.more}"},
      {"{params.org}\" }\ncreate", "{key}\" }\ncreate", "headers.X-Org: unknown placeholder {key}"},
      {"path: /me", "path: /me/{", "a { without its }"},
      {"path: /me", "path: /me/}", "a } without its {"},
      {"path: /me", "path: me", "verify.path: must begin with /"},
      {"path: /me", "path: /a/../b", "dotted segments"},
      {"path: /me", "path: //evil.example", "empty or dotted"},
      {"path: /me", "path: /me?x=1", "go into query"},
      {"path: /me", "path: \"/me#x\"", "cannot stand in a path"},
      {"path: /me", "path: \"/m e\"", "cannot stand in a path"},
      {"id: /id, value", "id: id, value", "create.extract.id: is no JSON Pointer"},
      {"id: /id, value", "id: /a~2, value", "is no JSON Pointer"},
      {"id: /id, value: /secret", "value: /secret", "id is missing"},
      {"value: /secret, ", "", "value is missing: the key itself"},
      {", tag: /name", "", "dir/good.yaml:16:3: list.extract: tag is missing"},
      {"class: tagged", "class: listed", "list.extract: value is missing"},
      {"class: tagged\n", "", "class: is missing"},
      {"status: [2xx], is: ok", "status: [2xx], is: fine", "dir/good.yaml:13:28: expected one of"},
      {"status: [2xx], is: ok", "status: [2xx]", "dir/good.yaml:13:7: create.outcomes[0]: says no"},
      {"status: [2xx], is: ok", "status: [2xx], is: rejected", "no rule says ok"},
      {"status: [\"200\"], is: ok } ]\nverify", "status: [600], is: ok } ]\nverify",
       "list.outcomes[0].status[0]: must be a status"},
      {"status: [\"200\"], is: ok } ]\nrevoke", "is: limited } ]\nrevoke", "only create can meet"},
      {"{ at: /a~1b, equals: x }", "{ at: /a }", "says nothing"},
      {"path: /me", "path: /me\n  json: {}", "a GET has no body"},
      {"path: /me", "path: /me\n  method: get", "must be GET, POST"},
      {"X-Key: ", "Host: ", "is not for a recipe to set"},
      {"X-Key: ", "\"X Key\": ", "is no name of a header"},
      {"X-Key: ", "x-extra: ", "stands here twice"},
      {"path: /me", "path: /me\n  paging: { query: p, next: /n }", "only a list has pages"},
      {"path: /keys\n", "path: /keys\n  paging: { query: p }\n", "next is missing"},
      {"recipe: good", "recipe: better", "must be the file's own name"},
      {"org: { required: true }", "org: { required: true, default: x }", "has no default"},
      {"default: \"5\"", "default: five", "must be a whole number"},
      {"format: number", "format: int", "must be uuid, slug, number, text, bool"},
      {"revoke:\n  path: /keys/{key.id}\n  outcomes: [ { status: [2xx], match: [ { at: /a~1b, "
       "equals: x } ], is: ok } ]\n",
       "", "the request \"revoke\" is missing"},
      {"class: tagged", "class: tagged\ntag_max_length: 4", "must be at least 16"},
      {"class: tagged", "class: tagged\nvalue: { format: Bearer }", "must hold {value}"},
      {"class: tagged", "klass: tagged", "unknown key \"klass\""},
  };
  for (const auto& c : cases) {
    EXPECT_THAT(ErrorOf(c.from, c.to), HasSubstr(c.expected)) << c.to;
    EXPECT_THAT(ErrorOf(c.from, c.to), testing::StartsWith("dir/good.yaml:")) << c.to;
  }
}

// What is signed for a request is gone by the time its reply is read.
TEST(Recipe, NothingSignedIsLookedForInAReply) {
  const auto with = [](const std::string& equals) {
    const std::string text = absl::StrReplaceAll(
        kGood,
        {{"class: tagged",
          "class: tagged\njwts: { app: { algorithm: rs256, key: \"{manager}\", lifetime: "
          "60s } }"},
         {"path: /keys/{params.org}",
          "path: /keys/{params.org}\n  headers: { X-Signed: \"{jwt.app}\" }"},
         {"id: /id, value: /secret", absl::StrCat("find: { items: /a, at: /b, equals: \"", equals,
                                                  "\" }, id: /id, value: /secret")}});
    return std::string(ReadRecipe(text, "dir/good.yaml").status().message());
  };
  EXPECT_EQ(with("{tag}"), "");
  EXPECT_THAT(with("{jwt.app}"), HasSubstr("create.extract.find.equals: unknown placeholder"));
}

TEST(Recipe, ParamFormats) {
  EXPECT_TRUE(CheckParam("uuid", "123e4567-e89b-12d3-a456-426614174000").ok());
  EXPECT_FALSE(CheckParam("uuid", "123e4567").ok());
  EXPECT_FALSE(CheckParam("uuid", "123e4567-e89b-12d3-a456-42661417400g").ok());
  EXPECT_TRUE(CheckParam("slug", "a-B_1.x").ok());
  EXPECT_FALSE(CheckParam("slug", "..").ok());
  EXPECT_FALSE(CheckParam("slug", "a/b").ok());
  EXPECT_FALSE(CheckParam("slug", "").ok());
  EXPECT_TRUE(CheckParam("number", "42").ok());
  EXPECT_FALSE(CheckParam("number", "-42").ok());
  EXPECT_TRUE(CheckParam("", "any text").ok());
  EXPECT_FALSE(CheckParam("text", "a\nb").ok());
  EXPECT_FALSE(CheckParam("text", "gr\xc3\xbc").ok());
}

}  // namespace
}  // namespace keyturn::providers

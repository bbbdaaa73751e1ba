// SPDX-License-Identifier: Apache-2.0
// No value may break out of the place it was put in.
#include "agent/providers/recipe/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "agent/base/strict_yaml.h"
#include "agent/providers/recipe/request_builder.h"

namespace keyturn::providers {
namespace {

using Place = Template::Place;

TemplateScope FullScope() {
  TemplateScope scope;
  scope.params = {"p"};
  scope.manager = scope.key = scope.key_id = scope.tag = true;
  scope.manager_fields = {"user"};
  scope.key_fields = {"more"};
  return scope;
}

class TemplateTest : public testing::Test {
 protected:
  TemplateTest() {
    values_.params = &params_;
    values_.manager = &manager_;
    values_.key = &key_;
    values_.key_id = "id/1";
    values_.tag = "kt-1";
    manager_.fields.push_back({"user", base::Secret("me"), false});
  }
  std::string Render(const std::string& text, Place place) {
    auto out = Template::Parse(text, FullScope())->Render(values_, place);
    return out.ok() ? *out : "error: " + std::string(out.status().message());
  }

  std::map<std::string, std::string> params_ = {{"p", "a b&c=d/../?#%"}};
  base::CredentialValue manager_ = base::CredentialValue::Of(base::Secret("m\"s\r\n"));
  base::CredentialValue key_ = base::CredentialValue::Of(base::Secret("k3y"));
  TemplateValues values_;
};

TEST_F(TemplateTest, FillsIn) {
  EXPECT_EQ(Render("{tag} {key} {key.id} {manager.user} {{x}}", Place::kText),
            "kt-1 k3y id/1 me {x}");
  EXPECT_EQ(Render("plain", Place::kPath), "plain");
  EXPECT_TRUE(Template::Parse("a{tag}", FullScope())->uses_tag());
  EXPECT_FALSE(Template::Parse("a{{tag}}", FullScope())->uses_tag());
}

TEST_F(TemplateTest, EscapesByPlace) {
  EXPECT_EQ(Render("/x/{params.p}/y", Place::kPath), "/x/a%20b%26c%3Dd%2F..%2F%3F%23%25/y");
  EXPECT_EQ(Render("x&{params.p}", Place::kQuery), "x%26a%20b%26c%3Dd%2F..%2F%3F%23%25");
  EXPECT_EQ(Render("Bearer {key}", Place::kHeader), "Bearer k3y");
  EXPECT_THAT(Render("Bearer {manager}", Place::kHeader), testing::StartsWith("error: "));
  EXPECT_THAT(Render("Bearer {manager}", Place::kHeader), testing::Not(testing::HasSubstr("m\"s")));
}

TEST_F(TemplateTest, PathSegmentsCannotVanishOrClimb) {
  for (const char* bad : {"", ".", ".."}) {
    params_["p"] = bad;
    EXPECT_THAT(Render("/x/{params.p}", Place::kPath), testing::StartsWith("error: ")) << bad;
  }
}

TEST_F(TemplateTest, MissingFieldsAreErrorsThatNameThem) {
  EXPECT_THAT(Render("{key.more}", Place::kText), testing::HasSubstr("the key has no field"));
  manager_ = {};
  EXPECT_THAT(Render("{manager.user}", Place::kText),
              testing::HasSubstr("the manager credential has no field \"user\""));
}

TEST_F(TemplateTest, UnknownPlaceholdersAreRefused) {
  for (const char* bad : {"{}", "{params}", "{params.q}", "{manager.pass}", "{keys}", "{tag.x}",
                          "{ tag }", "{TAG}", "{key.id.x}", "{", "}", "{a", "a}"}) {
    EXPECT_FALSE(Template::Parse(bad, FullScope()).ok()) << bad;
  }
  EXPECT_FALSE(Template::Parse("{key}", TemplateScope()).ok());
}

// Any value, put through a whole request, comes out as one JSON string, one query value, one
// segment.
TEST(TemplateProperty, NoValueBreaksOut) {
  RecipeRequest request;
  request.scope.params = {"p"};
  request.method = "POST";
  request.path = *Template::Parse("/x/{params.p}/y", request.scope);
  request.query.emplace_back("q", *Template::Parse("{params.p}", request.scope));
  internal::v1::Recipe recipe;
  ASSERT_TRUE(
      base::ParseYaml("create: { json: { a: 'x{params.p}', b: [true, 1] } }", "f", &recipe).ok());
  request.spec = recipe.create();
  EXPECT_TRUE(rc::check("values stay in their place", [&](const std::string& value) {
    std::map<std::string, std::string> params = {{"p", value}};
    TemplateValues values;
    values.params = &params;
    const auto http = BuildRequest(request, "https://h", values, "", absl::Seconds(1));
    if (!http.ok()) {
      // Refused: an empty or dotted segment, or no UTF-8.
      const bool dots = value.empty() || value == "." || value == "..";
      RC_ASSERT(dots || nlohmann::json::parse("\"" + value + "\"", nullptr, false).is_discarded() ||
                value.find_first_of("\"\\") != std::string::npos);
      return;
    }
    RC_ASSERT(std::count(http->url.begin(), http->url.end(), '/') == 5);
    RC_ASSERT(std::count(http->url.begin(), http->url.end(), '?') == 1);
    RC_ASSERT(std::count(http->url.begin(), http->url.end(), '&') == 0);
    RC_ASSERT(std::count(http->url.begin(), http->url.end(), '#') == 0);
    const std::string body(http->body.Reveal());
    const auto json = nlohmann::json::parse(body);
    RC_ASSERT(json.size() == 2u);
    RC_ASSERT(json["a"] == "x" + value);
    RC_ASSERT(json["b"].dump() == "[true,1]");
  }));
}

TEST(RequestBuilder, BasicAuthAndForm) {
  RecipeRequest request;
  request.scope.params = {"p"};
  request.method = "POST";
  request.path = *Template::Parse("/t", request.scope);
  request.form.emplace_back("a b", *Template::Parse("{params.p}", request.scope));
  request.form.emplace_back("c", *Template::Parse("d", request.scope));
  request.basic_auth = {*Template::Parse("u", request.scope),
                        *Template::Parse("{params.p}", request.scope)};
  std::map<std::string, std::string> params = {{"p", "p:w&d"}};
  TemplateValues values;
  values.params = &params;
  auto http = BuildRequest(request, "https://h/base", values, "", absl::Seconds(1));
  ASSERT_TRUE(http.ok());
  EXPECT_EQ(http->url, "https://h/base/t");
  EXPECT_EQ(http->body.Reveal(), "a%20b=p%3Aw%26d&c=d");
  EXPECT_EQ(http->headers[0].second.Reveal(), "Basic dTpwOncmZA==");
  EXPECT_EQ(http->headers[1].second.Reveal(), "application/x-www-form-urlencoded");
  request.basic_auth = {*Template::Parse("{params.p}", request.scope), Template()};
  EXPECT_FALSE(BuildRequest(request, "https://h", values, "", absl::Seconds(1)).ok());
}

TEST(Template, WhatIsNotThereIsAnErrorAndNoCrash) {
  TemplateScope scope;
  scope.jwts.insert("app");
  const auto signed_text = Template::Parse("{jwt.app}", scope);
  ASSERT_TRUE(signed_text.ok());
  EXPECT_FALSE(signed_text->Render(TemplateValues(), Template::Place::kText).ok());
}

}  // namespace
}  // namespace keyturn::providers

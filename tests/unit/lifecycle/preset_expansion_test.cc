// SPDX-License-Identifier: Apache-2.0
// Presets as they ship: each makes a credential that lacks nothing, for every grant it names; and
// the rules by which a preset and a resource become one.
#include "agent/lifecycle/oauth/preset_expansion.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/strict_yaml.h"
#include "agent/lifecycle/oauth/oauth_checks.h"

namespace keyturn::lifecycle::oauth {
namespace {

using google::protobuf::util::MessageDifferencer;

const providers::Presets& Shipped() {
  static const auto* presets = [] {
    auto loaded =
        providers::Presets::Load({absl::StrCat(KEYTURN_SOURCE_DIR, "/agent/providers/presets")});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return new providers::Presets(loaded.ok() ? *std::move(loaded) : providers::Presets());
  }();
  return *presets;
}

v1::OAuthSpec Spec(const std::string& yaml) {
  v1::OAuthSpec spec;
  const absl::Status read = base::ParseYaml(yaml, "spec", &spec);
  EXPECT_TRUE(read.ok()) << read << "\n" << yaml;
  return spec;
}

v1::OAuthSpec Expanded(const std::string& yaml) {
  v1::OAuthSpec spec = Spec(yaml);
  const auto wrong = Expand(Shipped(), spec);
  EXPECT_FALSE(wrong.has_value()) << yaml << wrong->message;
  return spec;
}

std::string MistakeIn(const std::string& yaml) {
  v1::OAuthSpec spec = Spec(yaml);
  const auto wrong = Expand(Shipped(), spec);
  return wrong ? absl::StrCat(absl::StrJoin(wrong->path, "."), ": ", wrong->message) : "";
}

// The least that a person would write.
v1::OAuthSpec Least(const internal::v1::Preset& preset, v1::OAuthGrant grant) {
  v1::OAuthSpec spec;
  spec.set_preset(preset.preset());
  if (grant != preset.oauth().grant()) spec.set_grant(grant);
  for (const auto& [name, param] : preset.params()) {
    if (param.required()) (*spec.mutable_params())[name] = param.example();
  }
  const v1::ClientAuth auth = preset.oauth().client_auth();
  if (grant == v1::JWT_BEARER) {
    spec.set_client_auth(v1::NONE);
    if (auth == v1::NONE) {
      spec.mutable_assertion()->mutable_token()->set_credential("token");
    } else {
      spec.set_client_id("c");
      spec.mutable_signing_key()->mutable_key()->set_credential("key");
    }
  } else {
    spec.set_client_id("c");
    spec.mutable_client_secret()->set_credential("secret");
  }
  if (grant == v1::TOKEN_EXCHANGE) {
    spec.mutable_exchange()->mutable_subject_token()->set_credential("token");
  }
  return spec;
}

std::optional<OAuthMistake> Check(const v1::OAuthSpec& spec) {
  return CheckOAuth("me", spec,
                    {[](absl::string_view url) {
                       return absl::StartsWith(url, "https://") &&
                                      url.find_first_of("{}") == absl::string_view::npos
                                  ? absl::OkStatus()
                                  : absl::InvalidArgumentError("no URL");
                     },
                     [](const std::string&) { return true; }});
}

TEST(ShippedPresets, EachMakesAWholeCredentialForEachOfItsGrants) {
  EXPECT_EQ(Shipped().all().size(), 15u);
  for (const auto& [name, preset] : Shipped().all()) {
    for (const int number : preset.spec.grants()) {
      const auto grant = static_cast<v1::OAuthGrant>(number);
      v1::OAuthSpec spec = Least(preset.spec, grant);
      const auto unexpanded = Expand(Shipped(), spec);
      ASSERT_FALSE(unexpanded.has_value()) << name << ": " << unexpanded->message;
      const auto wrong = Check(spec);
      EXPECT_FALSE(wrong.has_value()) << name << " " << v1::OAuthGrant_Name(grant) << " "
                                      << absl::StrJoin(wrong->path, ".") << ": " << wrong->message;
      EXPECT_EQ(spec.grant(), grant);
      EXPECT_EQ(spec.preset(), name);
      EXPECT_FALSE(absl::StrContains(spec.ShortDebugString(), "{endpoint}"));
      const v1::OAuthSpec once = spec;
      ASSERT_FALSE(Expand(Shipped(), spec).has_value()) << name;
      EXPECT_TRUE(MessageDifferencer::Equals(once, spec)) << name;
    }
  }
}

// A refresh token that was got elsewhere is stored with `keyturn put`.
TEST(ShippedPresets, TheGrantRefreshTokenGoesWhereALoginDoes) {
  for (const auto& [name, preset] : Shipped().all()) {
    if (!HasLogin(preset.spec.oauth().grant())) continue;
    v1::OAuthSpec spec = Least(preset.spec, v1::REFRESH_TOKEN);
    ASSERT_FALSE(Expand(Shipped(), spec).has_value()) << name;
    const auto wrong = Check(spec);
    EXPECT_FALSE(wrong.has_value()) << name << " " << wrong->message;
  }
}

TEST(ShippedPresets, TheTableInTheDocumentationIsTheirs) {
  std::ifstream file(absl::StrCat(KEYTURN_SOURCE_DIR, "/docs/OAUTH.md"));
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  for (const auto& [name, preset] : Shipped().all()) {
    std::vector<std::string> grants;
    for (const int grant : preset.spec.grants()) {
      grants.push_back(
          absl::AsciiStrToLower(v1::OAuthGrant_Name(static_cast<v1::OAuthGrant>(grant))));
    }
    std::vector<std::string> params;
    const std::map<std::string, internal::v1::Preset::Param> sorted(preset.spec.params().begin(),
                                                                    preset.spec.params().end());
    for (const auto& [param, facts] : sorted) {
      params.push_back(absl::StrCat("`", param, "`", facts.required() ? "" : " (optional)"));
    }
    const std::string row = absl::StrCat("| ", name, " | ", absl::StrJoin(grants, ", "), " | ",
                                         params.empty() ? "-" : absl::StrJoin(params, ", "), " | ");
    EXPECT_TRUE(absl::StrContains(page, row)) << "docs/OAUTH.md lacks: " << row;
  }
}

constexpr char kKeycloak[] =
    "preset: keycloak\nparams: { endpoint: https://sso.example.com, realm: r }\n"
    "client_id: c\nclient_secret: { credential: s }\n";

TEST(PresetExpansion, WhatTheResourceStatesHolds) {
  const v1::OAuthSpec spec = Expanded(
      absl::StrCat(kKeycloak,
                   "token_url: https://other/{realm}/token\nscopes: [a]\nrefresh_token: keeps\n"
                   "default_lifetime: 7m\n"));
  EXPECT_EQ(spec.token_url(), "https://other/r/token");
  EXPECT_EQ(spec.authorization_url(),
            "https://sso.example.com/realms/r/protocol/openid-connect/auth");
  ASSERT_EQ(spec.scopes_size(), 1);
  EXPECT_EQ(spec.refresh_token(), v1::KEEPS);
  EXPECT_EQ(spec.default_lifetime().seconds(), 420);
  EXPECT_EQ(spec.params().size(), 2u);
}

TEST(PresetExpansion, MapsAreMergedAndQuirksFieldByField) {
  const v1::OAuthSpec spec = Expanded(
      "preset: google\nclient_id: c\nclient_secret: { credential: s }\n"
      "authorization_params: { prompt: select_account, hd: example.com }\n");
  EXPECT_EQ(spec.authorization_params().at("prompt"), "select_account");
  EXPECT_EQ(spec.authorization_params().at("hd"), "example.com");
  EXPECT_EQ(spec.authorization_params().at("access_type"), "offline");
  const v1::OAuthSpec slack = Expanded(
      "preset: slack\nclient_id: c\nclient_secret: { credential: s }\n"
      "quirks: { access_token: /authed_user/access_token, errors: [ { pointer: /error, equals: x, "
      "means: invalid_grant } ] }\n");
  EXPECT_EQ(slack.quirks().access_token(), "/authed_user/access_token");
  EXPECT_EQ(slack.quirks().scope_separator(), ",");
  EXPECT_EQ(slack.quirks().errors_size(), 1);  // a list is one thing
  const v1::OAuthSpec zoho = Expanded(
      "preset: zoho\nclient_id: c\nclient_secret: { credential: s }\nattach: { header: X-T }\n");
  EXPECT_EQ(zoho.attach().format(), "");  // and so is how a token is attached
}

TEST(PresetExpansion, WhatAPresetTurnsOnCanBeTurnedOff) {
  auto preset = providers::ReadPreset(
      "preset: mine\ntitle: Mine\ndocs: https://h\ngrants: [authorization_code]\n"
      "oauth: { grant: authorization_code, token_url: https://h/t, authorization_url: https://h/a, "
      "dpop: true, introspect: true, quirks: { no_pkce: true } }\n",
      "mine.yaml");
  ASSERT_TRUE(preset.ok()) << preset.status();
  providers::Presets presets;
  presets.Add(*std::move(preset));
  v1::OAuthSpec spec = Spec("preset: mine\n");
  ASSERT_FALSE(Expand(presets, spec).has_value());
  EXPECT_TRUE(spec.dpop() && spec.introspect() && spec.quirks().no_pkce());
  spec = Spec("preset: mine\ndpop: false\nintrospect: false\nquirks: { no_pkce: false }\n");
  ASSERT_FALSE(Expand(presets, spec).has_value());
  EXPECT_FALSE(spec.dpop() || spec.introspect() || spec.quirks().no_pkce());
  // Also when what is exported is applied again.
  v1::OAuthSpec again = Spec(base::ToYaml(spec));
  EXPECT_TRUE(MessageDifferencer::Equals(spec, again));
  ASSERT_FALSE(Expand(presets, again).has_value());
  EXPECT_TRUE(MessageDifferencer::Equals(spec, again));
  // And over the disk.
  v1::OAuthSpec stored;
  ASSERT_TRUE(stored.ParseFromString(spec.SerializeAsString()));
  EXPECT_TRUE(stored.has_dpop() && stored.has_introspect() && stored.quirks().has_no_pkce());
}

TEST(PresetExpansion, AnotherGrantTakesOnlyWhatFitsIt) {
  const v1::OAuthSpec spec = Expanded(absl::StrCat(kKeycloak, "grant: client_credentials\n"));
  EXPECT_EQ(spec.authorization_url(), "");
  EXPECT_EQ(spec.device_url(), "");
  EXPECT_EQ(spec.scopes_size(), 0);
  EXPECT_FALSE(spec.has_test());
  EXPECT_NE(spec.revocation_url(), "");
}

TEST(PresetExpansion, OptionalParametersThatNobodyGaveLeaveNothingBehind) {
  const v1::OAuthSpec spec = Expanded(
      "preset: anthropic-workload-identity\nassertion: { token: { credential: t } }\n"
      "params: { federation_rule_id: f, organization_id: o, workspace_id: w }\n");
  EXPECT_EQ(spec.extra_params().size(), 3u);
  EXPECT_EQ(spec.extra_params().at("workspace_id"), "w");
  EXPECT_EQ(spec.extra_params().count("service_account_id"), 0u);
}

TEST(PresetExpansion, ParametersFillUrlsWithoutAPresetToo) {
  const v1::OAuthSpec spec =
      Expanded("token_url: https://{tenant}.example.com/{tenant}/token\nparams: { tenant: a-1 }\n");
  EXPECT_EQ(spec.token_url(), "https://a-1.example.com/a-1/token");
  EXPECT_TRUE(spec.params().empty());
  EXPECT_EQ(
      Expanded("token_url: https://h/{t}\nparams: { t: x }\ntest: { url: \"https://h/{t}/me\" }\n")
          .test()
          .url(),
      "https://h/x/me");
}

TEST(PresetExpansion, Mistakes) {
  const std::pair<std::string, std::string> cases[] = {
      {"preset: none\n", "preset: there is no preset \"none\"; there are anthropic-"},
      {"preset: keycloak\n", "params: `endpoint` is needed by the preset keycloak: base URL"},
      {absl::StrCat(kKeycloak, "grant: jwt_bearer\n"), "grant: the preset keycloak is good for"},
      {"preset: google\nparams: { tenant: x }\n", "params.tenant: is used in no URL"},
      {"token_url: https://{tennant}/t\nparams: { tenant: x }\n",
       "token_url: there is no `params: { tennant: ... }`"},
      {"token_url: https://h/{a\nparams: { a: x }\n", "token_url: holds a brace"},
      {"token_url: https://h/a}\n", "token_url: holds a brace"},
      {"token_url: https://h/{A}\n", "token_url: between braces"},
      {"token_url: https://{a}/t\nparams: { a: \"x/../y\" }\n", "params.a: must be"},
      {"token_url: https://{a}/t\nparams: { a: \"x?y\" }\n", "params.a: must be"},
      {"token_url: https://{a}/t\nparams: { a: \"\" }\n", "params.a: must be"},
      {"token_url: https://{a}/t\nparams: { a: \"x@y\" }\n", "params.a: must be"},
  };
  for (const auto& [yaml, expected] : cases) {
    EXPECT_TRUE(absl::StartsWith(MistakeIn(yaml), expected)) << MistakeIn(yaml);
  }
}

// A preset in which everything depends on one optional parameter.
providers::Presets Optional() {
  providers::Preset preset;
  preset.spec.set_preset("mine");
  (*preset.spec.mutable_params())["x"].set_about("anything");
  (*preset.spec.mutable_params())["host"].set_default_("h");
  preset.spec.add_grants(v1::AUTHORIZATION_CODE);
  *preset.spec.mutable_oauth() = Spec(
      "grant: authorization_code\ntoken_url: https://{host}/t\nauthorization_url: https://h/a\n"
      "scopes: [\"{x}\", a]\nresources: [\"{x}\"]\nextra_params: { one: \"{x}\" }\n"
      "authorization_params: { two: \"{x}\" }\nattach: { header: H, format: \"{value}\" }\n"
      "quirks: { headers: { X-Three: \"{x}\", X-Four: \"4\" } }\n");
  providers::Presets presets;
  presets.Add(std::move(preset));
  return presets;
}

TEST(PresetExpansion, WhatHeldOnlyAParameterThatNobodyGaveIsLeftOut) {
  v1::OAuthSpec spec = Spec("preset: mine\n");
  ASSERT_FALSE(Expand(Optional(), spec).has_value());
  EXPECT_EQ(spec.token_url(), "https://h/t");
  ASSERT_EQ(spec.scopes_size(), 1);
  EXPECT_EQ(spec.scopes(0), "a");
  EXPECT_EQ(spec.resources_size(), 0);
  EXPECT_TRUE(spec.extra_params().empty());
  EXPECT_TRUE(spec.authorization_params().empty());
  EXPECT_EQ(spec.quirks().headers().size(), 1u);
  EXPECT_EQ(spec.attach().format(), "{value}") << "there, it is the token";
}

TEST(PresetExpansion, AParameterFillsEveryTextThatNamesIt) {
  v1::OAuthSpec spec = Spec("preset: mine\nparams: { x: y, host: z }\n");
  ASSERT_FALSE(Expand(Optional(), spec).has_value());
  EXPECT_EQ(spec.token_url(), "https://z/t");
  EXPECT_EQ(spec.scopes(0), "y");
  EXPECT_EQ(spec.resources(0), "y");
  EXPECT_EQ(spec.extra_params().at("one"), "y");
  EXPECT_EQ(spec.authorization_params().at("two"), "y");
  EXPECT_EQ(spec.quirks().headers().at("X-Three"), "y");
}

TEST(PresetExpansion, AValueMayBe512CharactersLong) {
  const auto with = [](size_t size) {
    return MistakeIn(
        absl::StrCat("token_url: https://{a}/t\nparams: { a: ", std::string(size, 'x'), " }\n"));
  };
  EXPECT_EQ(with(512), "");
  EXPECT_TRUE(absl::StartsWith(with(513), "params.a: must be 1 to 512"));
}

TEST(PresetExpansion, ARefreshTokenThatWasGotElsewhereGoesOnlyWhereThereIsALogin) {
  const std::string yaml = "preset: anthropic-workload-identity\ngrant: refresh_token\n";
  EXPECT_TRUE(absl::StartsWith(
      MistakeIn(yaml), "grant: the preset anthropic-workload-identity is good for jwt_bearer"))
      << MistakeIn(yaml);
}

// Whatever a resource states beside its preset, a second expansion finds nothing left to do.
RC_GTEST_PROP(PresetExpansion, IsIdempotent, ()) {
  std::vector<std::string> names;
  for (const auto& [name, preset] : Shipped().all()) names.push_back(name);
  const providers::Preset& preset = *Shipped().Find(*rc::gen::elementOf(names));
  std::vector<int> grants(preset.spec.grants().begin(), preset.spec.grants().end());
  v1::OAuthSpec spec = Least(preset.spec, static_cast<v1::OAuthGrant>(*rc::gen::elementOf(grants)));
  const auto maybe = [] { return *rc::gen::arbitrary<bool>(); };
  if (maybe()) {
    spec.set_token_url("https://h/{mine}");
    (*spec.mutable_params())["mine"] = "x";
  }
  if (maybe()) spec.add_scopes("mine");
  if (maybe()) (*spec.mutable_extra_params())["workspace_id"] = "mine";
  if (maybe()) (*spec.mutable_quirks()->mutable_headers())["X-Mine"] = "1";
  if (maybe()) spec.mutable_quirks()->set_body(v1::OAuthQuirks::FORM);
  if (maybe()) spec.mutable_quirks()->set_no_pkce(true);
  if (maybe()) spec.mutable_test()->set_url("https://h/test");
  if (maybe()) spec.mutable_consent()->mutable_idle()->set_seconds(1);
  if (maybe()) spec.mutable_attach()->set_header("X-Mine");
  if (maybe()) spec.mutable_default_lifetime()->set_nanos(1);
  if (maybe()) spec.set_refresh_token(v1::KEEPS);
  RC_ASSERT(!Expand(Shipped(), spec).has_value());
  const v1::OAuthSpec once = spec;
  RC_ASSERT(!Expand(Shipped(), spec).has_value());
  RC_ASSERT(MessageDifferencer::Equals(once, spec));
}

}  // namespace
}  // namespace keyturn::lifecycle::oauth

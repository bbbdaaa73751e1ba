// SPDX-License-Identifier: Apache-2.0
// The addresses of a browser's login: what is asked for, and what is believed of what comes back.
#include "agent/lifecycle/oauth/authorization_url.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::lifecycle::oauth {
namespace {

constexpr char kUri[] = "http://127.0.0.1:4711/callback";

absl::StatusOr<Redirected> Read(const std::string& address) {
  return ReadRedirect(kUri, base::Secret(address));
}

TEST(AuthorizationUrlTest, TheChallengeIsThatOfTheStandardsExample) {
  // RFC 7636 appendix B.
  EXPECT_EQ(PkceChallenge(base::Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

TEST(AuthorizationUrlTest, SaysAllThatIsStated) {
  v1::OAuthSpec spec;
  spec.set_client_id("my app");
  spec.add_scopes("read:all");
  spec.add_scopes("offline");
  spec.set_audience("https://api.example.com");
  spec.add_resources("https://r1");
  spec.add_resources("https://r2");
  (*spec.mutable_authorization_params())["prompt"] = "consent";
  (*spec.mutable_authorization_params())["state"] = "forged";
  (*spec.mutable_authorization_params())["dpop_jkt"] = "forged";
  EXPECT_EQ(AuthorizationUrl(spec, {"https://as/auth?tenant=1", kUri, "st", "ch", "tp"}),
            "https://as/auth?tenant=1&response_type=code&client_id=my%20app"
            "&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback&state=st&code_challenge=ch"
            "&code_challenge_method=S256&dpop_jkt=tp&scope=read%3Aall%20offline"
            "&audience=https%3A%2F%2Fapi.example.com&resource=https%3A%2F%2Fr1"
            "&resource=https%3A%2F%2Fr2&prompt=consent");
}

TEST(AuthorizationUrlTest, ScopesAreSeparatedAndNotSaidTwice) {
  v1::OAuthSpec spec;
  spec.set_client_id("app");
  spec.add_scopes("a");
  spec.add_scopes("b");
  spec.mutable_quirks()->set_scope_separator(",");
  EXPECT_EQ(AuthorizationUrl(spec, {"https://as/auth", "https://here/cb", "s", "", ""}),
            "https://as/auth?response_type=code&client_id=app&redirect_uri=https%3A%2F%2Fhere%2Fcb"
            "&state=s&scope=a%2Cb");
  (*spec.mutable_authorization_params())["audience"] = "theirs";
  spec.set_audience("ours");
  EXPECT_TRUE(
      absl::EndsWith(AuthorizationUrl(spec, {"https://as/auth", "https://here/cb", "s", "", ""}),
                     "&scope=a%2Cb&audience=theirs"));
  spec.clear_audience();
  spec.mutable_authorization_params()->clear();
  (*spec.mutable_authorization_params())["scope"] = "";
  EXPECT_TRUE(absl::EndsWith(
      AuthorizationUrl(spec, {"https://as/auth", "https://here/cb", "s", "", ""}), "&scope=a%2Cb"));
}

TEST(AuthorizationUrlTest, BrowsersComeBackToThisHostOrOverTls) {
  for (const char* good :
       {"http://127.0.0.1:1/callback", "http://127.0.0.1/", "http://localhost:65535",
        "http://[::1]:80/x", "http://[::1]/x", "https://tools.example.com/cb"}) {
    EXPECT_TRUE(CheckRedirectUri(good).ok()) << good;
  }
  for (const char* bad :
       {"", "http://example.com/cb", "http://127.0.0.1.example.com/", "https://", "https:///cb",
        "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1:8x/",
        "http://localhost@example.com/", "ftp://127.0.0.1/", "http://127.0.0.1:80/cb?x=1",
        "https://a/cb#f", "https://a/c b", "javascript:alert(1)", "urn:ietf:wg:oauth:2.0:oob"}) {
    EXPECT_FALSE(CheckRedirectUri(bad).ok()) << bad;
  }
  EXPECT_FALSE(CheckRedirectUri(absl::StrCat("https://a/", std::string(2048, 'x'))).ok());
}

TEST(AuthorizationUrlTest, ReadsWhatTheBrowserBringsBack) {
  const auto code = Read(absl::StrCat(kUri, "?code=a%2Fb+c&state=s%3D&iss=https%3A%2F%2Fas&x#_=_"));
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_EQ(code->code.Reveal(), "a/b c");
  EXPECT_EQ(code->state.Reveal(), "s=");
  EXPECT_EQ(code->issuer, "https://as");
  EXPECT_EQ(code->error, "");
  const auto error = Read(absl::StrCat(kUri, "?error=access_denied&&state=s"));
  ASSERT_TRUE(error.ok()) << error.status();
  EXPECT_EQ(error->error, "access_denied");
}

TEST(AuthorizationUrlTest, RefusesWhatIsNoRedirectOfOurs) {
  const std::string uri = kUri;
  for (const std::string& bad :
       {std::string(), uri, uri + "/?code=c&state=s", std::string("code=c&state=s"),
        std::string("http://127.0.0.1:4712/callback?code=c&state=s"), uri + "?", uri + "?state=s",
        uri + "?code=c&code=d&state=s", uri + "?code=c&state=s&state=s",
        uri + "?code=c&state=s&error=access_denied", uri + "?code=%", uri + "?code=%4",
        uri + "?code=%zz", uri + "?code=%4z", uri + "?code=c%00d", uri + "?code=c%0Ad",
        uri + "?c%00ode=c", uri + "?#code=c&state=s", uri + "?code=" + std::string(17000, 'c')}) {
    const auto read = Read(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << bad.substr(0, 100);
    EXPECT_FALSE(absl::StrContains(read.status().message(), "code=c")) << read.status();
  }
}

}  // namespace
}  // namespace keyturn::lifecycle::oauth

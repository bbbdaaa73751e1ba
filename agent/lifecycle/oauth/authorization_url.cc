// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/authorization_url.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/base/sha256.h"
#include "agent/lifecycle/oauth/oauth_checks.h"

namespace keyturn::lifecycle::oauth {
namespace {

constexpr size_t kRedirectUriMax = 2048;
constexpr size_t kRedirectedMax = 16 * 1024;

std::string PercentEncoded(absl::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains("-._~", absl::string_view(&c, 1))) {
      encoded.push_back(c);
    } else {
      absl::StrAppend(&encoded, "%", absl::AsciiStrToUpper(absl::BytesToHexString({&c, 1})));
    }
  }
  return encoded;
}

// Application/x-www-form-urlencoded; nothing for a broken escape or a control character.
std::optional<base::Secret> FormDecoded(absl::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());  // one buffer, so that wiping it leaves no copy
  bool good = true;
  for (size_t i = 0; i < text.size() && good; ++i) {
    char c = text[i];
    if (c == '+') {
      c = ' ';
    } else if (c == '%') {
      good = i + 2 < text.size() && absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) &&
             absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]));
      if (!good) break;
      c = absl::HexStringToBytes(text.substr(i + 1, 2))[0];
      i += 2;
    }
    good = !absl::ascii_iscntrl(static_cast<unsigned char>(c));
    decoded.push_back(c);
  }
  base::Secret result = base::Secret::Take(decoded);
  if (!good) return std::nullopt;
  return result;
}

bool IsThisHost(absl::string_view authority) {
  absl::string_view host = authority;
  absl::string_view port;
  const size_t colon = authority.rfind(':');
  if (colon != absl::string_view::npos && !absl::EndsWith(authority, "]")) {
    host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
    int number = 0;
    if (!absl::SimpleAtoi(port, &number) || number < 1 || number > 65535) return false;
  }
  return host == "127.0.0.1" || host == "[::1]" || host == "localhost";
}

}  // namespace

base::Secret NewUnguessable(base::Random& random) {
  std::string bytes = random.Bytes(32);
  std::string text = absl::WebSafeBase64Escape(bytes);
  base::Wipe(bytes);
  return base::Secret::Take(text);
}

std::string PkceChallenge(const base::Secret& verifier) {
  base::Sha256 sha;
  sha.Update(verifier.Reveal());
  return absl::WebSafeBase64Escape(absl::HexStringToBytes(sha.HexDigest()));
}

std::string AuthorizationUrl(const v1::OAuthSpec& spec, const AuthorizationAsk& ask) {
  std::vector<std::pair<std::string, std::string>> params = {
      {"response_type", "code"},
      {"client_id", spec.client_id()},
      {"redirect_uri", ask.redirect_uri},
      {"state", ask.state},
  };
  if (!ask.challenge.empty()) {
    params.emplace_back("code_challenge", ask.challenge);
    params.emplace_back("code_challenge_method", "S256");
  }
  if (!ask.thumbprint.empty()) params.emplace_back("dpop_jkt", ask.thumbprint);
  const auto& stated = spec.authorization_params();
  if (!spec.scopes().empty()) {
    const std::string& separator = spec.quirks().scope_separator();
    params.emplace_back("scope", absl::StrJoin(spec.scopes(), separator.empty() ? " " : separator));
  }
  if (!spec.audience().empty() && stated.count("audience") == 0) {
    params.emplace_back("audience", spec.audience());
  }
  for (const std::string& resource : spec.resources()) params.emplace_back("resource", resource);
  const std::map<std::string, std::string> ordered(stated.begin(), stated.end());
  for (const auto& [name, value] : ordered) {
    // What the protocol itself says is not for the specification to change.
    if (!IsAuthorizationParam(name)) params.emplace_back(name, value);
  }
  std::string url = ask.endpoint;
  char separator = absl::StrContains(url, "?") ? '&' : '?';
  for (const auto& [name, value] : params) {
    absl::StrAppend(&url, absl::string_view(&separator, 1), PercentEncoded(name), "=",
                    PercentEncoded(value));
    separator = '&';
  }
  return url;
}

absl::Status CheckRedirectUri(absl::string_view uri) {
  const bool printable = std::all_of(uri.begin(), uri.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (uri.size() > kRedirectUriMax || !printable) {
    return absl::InvalidArgumentError("the redirect address is too long or no address");
  }
  if (absl::StrContains(uri, "?") || absl::StrContains(uri, "#")) {
    return absl::InvalidArgumentError("the redirect address must have no query and no fragment");
  }
  absl::string_view rest = uri;
  if (absl::ConsumePrefix(&rest, "https://")) {
    if (!rest.empty() && rest[0] != '/') return absl::OkStatus();
  } else if (absl::ConsumePrefix(&rest, "http://")) {
    if (IsThisHost(rest.substr(0, rest.find('/')))) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "the redirect address must begin with https://, or with http:// and this host's own name: "
      "127.0.0.1, [::1] or localhost");
}

absl::StatusOr<Redirected> ReadRedirect(absl::string_view redirect_uri,
                                        const base::Secret& redirected_to) {
  absl::string_view query = redirected_to.Reveal();
  if (query.size() > kRedirectedMax) {
    return absl::InvalidArgumentError("the address is longer than any that a server sends");
  }
  if (!absl::ConsumePrefix(&query, redirect_uri) || !absl::ConsumePrefix(&query, "?")) {
    return absl::InvalidArgumentError(
        absl::StrCat("this is not the address that the browser is sent back to: that one begins "
                     "with ",
                     redirect_uri, "?"));
  }
  query = query.substr(0, query.find('#'));
  std::map<std::string, base::Secret> params;
  for (const absl::string_view param : absl::StrSplit(query, '&', absl::SkipEmpty())) {
    const size_t equals = std::min(param.find('='), param.size());
    const auto name = FormDecoded(param.substr(0, equals));
    auto value = FormDecoded(param.substr(std::min(equals + 1, param.size())));
    if (!name || !value) {
      return absl::InvalidArgumentError("the address is damaged: copy it whole");
    }
    if (!params.emplace(std::string(name->Reveal()), *std::move(value)).second) {
      return absl::InvalidArgumentError("the address has a parameter twice, as no server sends it");
    }
  }
  Redirected redirected;
  redirected.state = params["state"];
  redirected.code = params["code"];
  redirected.error = std::string(params["error"].Reveal());
  redirected.issuer = std::string(params["iss"].Reveal());
  if (redirected.code.empty() == redirected.error.empty()) {
    return absl::InvalidArgumentError("the address holds no code: copy it whole");
  }
  return redirected;
}

}  // namespace keyturn::lifecycle::oauth

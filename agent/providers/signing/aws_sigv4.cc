// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/signing/aws_sigv4.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent/providers/signing/digest.h"

namespace keyturn::providers {
namespace {

constexpr char kAlgorithm[] = "AWS4-HMAC-SHA256";

struct UrlParts {
  absl::string_view host;
  absl::string_view path;
  absl::string_view query;
};

// Of a URL that BuildRequest made, hence well-formed.
UrlParts SplitUrl(absl::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme != absl::string_view::npos) url.remove_prefix(scheme + 3);
  UrlParts parts;
  const size_t host_end = std::min(url.find_first_of("/?"), url.size());
  parts.host = url.substr(0, host_end);
  url.remove_prefix(host_end);
  const size_t query = url.find('?');
  parts.path = url.substr(0, query);
  if (query != absl::string_view::npos) parts.query = url.substr(query + 1);
  return parts;
}

// The path of the URL is encoded already: this is the second time.
std::string CanonicalPath(absl::string_view path) {
  if (path.empty()) return "/";
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains("/-_.~", absl::string_view(&c, 1))) {
      out += c;
    } else {
      absl::StrAppend(&out, "%",
                      absl::AsciiStrToUpper(absl::BytesToHexString(absl::string_view(&c, 1))));
    }
  }
  return out;
}

std::string CanonicalQuery(absl::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const absl::string_view pair : absl::StrSplit(query, '&', absl::SkipEmpty())) {
    pairs.push_back(absl::StrSplit(pair, absl::MaxSplits('=', 1)));
  }
  std::sort(pairs.begin(), pairs.end());
  return absl::StrJoin(pairs, "&", absl::PairFormatter("="));
}

bool Token(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > 0x20 && c < 0x7f && c != ',' && c != '/';
  });
}

base::Secret SigningKey(const AwsIdentity& identity, absl::string_view date) {
  std::string first = absl::StrCat("AWS4", identity.secret_access_key.Reveal());
  const absl::Cleanup wipe = [&] { base::Wipe(first); };
  base::Secret key = HmacSha256(first, date);
  for (const absl::string_view part :
       {absl::string_view(identity.region), absl::string_view(identity.service),
        absl::string_view("aws4_request")}) {
    key = HmacSha256(key.Reveal(), part);
  }
  return key;
}

}  // namespace

absl::Status SignAwsSigV4(const AwsIdentity& identity, absl::Time now, net::HttpRequest* request) {
  if (!Token(identity.access_key_id) || !Token(identity.region) || !Token(identity.service) ||
      identity.secret_access_key.empty()) {
    return absl::InvalidArgumentError("a part of the AWS identity is missing or malformed");
  }
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone());
  const std::string date = time.substr(0, 8);
  request->headers.emplace_back("X-Amz-Date", base::Secret(time));
  if (!identity.session_token.empty()) {
    request->headers.emplace_back("X-Amz-Security-Token", identity.session_token);
  }
  const UrlParts url = SplitUrl(request->url);
  // Sorted by name, as the canonical form wants them. Values may be secret.
  std::map<std::string, std::string> headers = {{"host", std::string(url.host)}};
  for (const auto& [name, value] : request->headers) {
    std::string text(value.Reveal());
    absl::RemoveExtraAsciiWhitespace(&text);
    headers[absl::AsciiStrToLower(name)] = text;
    base::Wipe(text);
  }
  const std::string signed_names = absl::StrJoin(
      headers, ";", [](std::string* out, const auto& header) { out->append(header.first); });
  std::string canonical = absl::StrCat(request->method, "\n", CanonicalPath(url.path), "\n",
                                       CanonicalQuery(url.query), "\n");
  for (auto& [name, value] : headers) {
    absl::StrAppend(&canonical, name, ":", value, "\n");
    base::Wipe(value);
  }
  absl::StrAppend(&canonical, "\n", signed_names, "\n", Sha256Hex(request->body.Reveal()));
  const std::string scope =
      absl::StrCat(date, "/", identity.region, "/", identity.service, "/aws4_request");
  const std::string to_sign =
      absl::StrCat(kAlgorithm, "\n", time, "\n", scope, "\n", Sha256Hex(canonical));
  base::Wipe(canonical);
  const base::Secret signature = HmacSha256(SigningKey(identity, date).Reveal(), to_sign);
  request->headers.emplace_back(
      "Authorization",
      base::Secret(absl::StrCat(kAlgorithm, " Credential=", identity.access_key_id, "/", scope,
                                ", SignedHeaders=", signed_names,
                                ", Signature=", absl::BytesToHexString(signature.Reveal()))));
  return absl::OkStatus();
}

}  // namespace keyturn::providers

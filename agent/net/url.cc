// SPDX-License-Identifier: Apache-2.0
#include "agent/net/url.h"

#include <curl/curl.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

namespace keyturn::net {
namespace {

std::string Part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

bool HasPart(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return false;
  curl_free(text);
  return true;
}

}  // namespace

absl::StatusOr<Url> ParseUrl(absl::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '\\') {
      return absl::InvalidArgumentError(
          "a URL holds no spaces, control characters, backslashes or letters beyond ASCII");
    }
  }
  // libcurl forgives one slash or three where two belong.
  const size_t slashes = text.find("://");
  if (slashes == absl::string_view::npos || text.substr(slashes + 3, 1) == "/") {
    return absl::InvalidArgumentError("not an absolute http or https URL");
  }
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  const std::string terminated(text);
  if (url == nullptr ||
      curl_url_set(url.get(), CURLUPART_URL, terminated.c_str(), 0) != CURLUE_OK) {
    return absl::InvalidArgumentError("not an absolute http or https URL");
  }
  Url result;
  result.scheme = Part(url.get(), CURLUPART_SCHEME);
  if (result.scheme != "https" && result.scheme != "http") {
    return absl::InvalidArgumentError("the scheme must be https (or http where it is allowed)");
  }
  if (HasPart(url.get(), CURLUPART_USER) || HasPart(url.get(), CURLUPART_PASSWORD)) {
    return absl::InvalidArgumentError("a URL must not carry a user or a password");
  }
  result.host = absl::AsciiStrToLower(Part(url.get(), CURLUPART_HOST));
  if (absl::StartsWith(result.host, "[") && absl::EndsWith(result.host, "]")) {
    result.host = result.host.substr(1, result.host.size() - 2);
  }
  if (result.host.empty() || absl::StrContains(result.host, "%")) {
    return absl::InvalidArgumentError("the URL names no host");
  }
  if (!absl::SimpleAtoi(Part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT), &result.port)) {
    return absl::InvalidArgumentError("the URL has no valid port");
  }
  result.has_query_or_fragment = HasPart(url.get(), CURLUPART_QUERY) ||
                                 HasPart(url.get(), CURLUPART_FRAGMENT) ||
                                 text.find_first_of("?#") != absl::string_view::npos;
  return result;
}

}  // namespace keyturn::net

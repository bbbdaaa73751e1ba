// SPDX-License-Identifier: Apache-2.0
//
// Small, total functions over requests and replies: decoding never throws and never reads past
// what it was given. No state, so any thread may call them.
#include "tests/sandbox/request.h"

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

absl::string_view Request::Header(absl::string_view name) const {
  const auto found = headers.find(std::string(name));
  return found == headers.end() ? absl::string_view() : absl::string_view(found->second);
}

std::string ToText(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Reply JsonReply(int status, const nlohmann::json& body) {
  return {
      .status = status, .content_type = "application/json", .headers = {}, .body = ToText(body)};
}

Reply DifyError(int status, absl::string_view code, absl::string_view message) {
  // Spelt out as strings: nlohmann-json would take abseil's view for a list of characters.
  return JsonReply(
      status, {{"code", std::string(code)}, {"message", std::string(message)}, {"status", status}});
}

std::optional<std::string> AuthorizationOf(const Request& request, absl::string_view scheme) {
  const absl::string_view value = request.Header("authorization");
  if (value.size() <= scheme.size() || value[scheme.size()] != ' ') return std::nullopt;
  if (!absl::EqualsIgnoreCase(value.substr(0, scheme.size()), scheme)) return std::nullopt;
  return std::string(absl::StripAsciiWhitespace(value.substr(scheme.size())));
}

std::optional<std::string> PercentDecode(absl::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      decoded.push_back(' ');
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      decoded.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      decoded.push_back(text[i]);
    }
  }
  return decoded;
}

std::optional<std::vector<std::string>> PathSegments(absl::string_view path) {
  std::vector<std::string> segments;
  for (const absl::string_view raw : absl::StrSplit(absl::StripPrefix(path, "/"), '/')) {
    std::optional<std::string> segment = PercentDecode(raw, /*plus_is_space=*/false);
    if (!segment.has_value()) return std::nullopt;
    segments.push_back(*std::move(segment));
  }
  return segments;
}

}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
//
// What the sandbox's services see of HTTP: a whole request in, a whole reply out, as plain values.
// Nothing here knows about sockets, so the services that speak these types are tested without any.
// Values only; no shared state.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/string_view.h>

#include <nlohmann/json_fwd.hpp>

namespace keyturn::sandbox {

struct Request {
  std::string method;
  // The path as it was sent: percent escapes are kept and decoded one segment at a time, so that
  // an escaped slash stays inside its segment. No query.
  std::string path;
  // Names in lower case; of a repeated header the last one counts.
  std::map<std::string, std::string> headers;
  std::string body;

  // The header's value, or an empty string. `name` is in lower case.
  absl::string_view Header(absl::string_view name) const;
};

struct Reply {
  int status = 200;
  std::string content_type;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// Bytes that are not UTF-8 are replaced rather than refused: a reply must always come out.
std::string ToText(const nlohmann::json& value);
Reply JsonReply(int status, const nlohmann::json& body);

// Dify's error body: {"code", "message", "status"}.
Reply DifyError(int status, absl::string_view code, absl::string_view message);

// The credentials of an Authorization header of that scheme ("Bearer", "Basic"; any case), or
// nothing when the header is absent or of another scheme.
std::optional<std::string> AuthorizationOf(const Request& request, absl::string_view scheme);

// Percent decoding; `plus_is_space` is the rule of form bodies (and of the two halves of HTTP
// Basic in RFC 6749 section 2.3.1). Nothing on a broken escape.
std::optional<std::string> PercentDecode(absl::string_view text, bool plus_is_space);

// The path's segments, decoded, without the leading slash. Nothing on a broken escape.
std::optional<std::vector<std::string>> PathSegments(absl::string_view path);

}  // namespace keyturn::sandbox

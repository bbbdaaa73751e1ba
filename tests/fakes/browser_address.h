// SPDX-License-Identifier: Apache-2.0
// What a browser is given to go to: the parts of an address that tests of logins look at. Pure.
#pragma once

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace keyturn::fakes {

inline constexpr char kRedirectUri[] = "http://127.0.0.1:4711/callback";

// The value of a parameter as it stands there, percent-encoded; empty when there is none.
inline std::string QueryParam(const std::string& url, const std::string& name) {
  for (const absl::string_view part : absl::StrSplit(url, absl::ByAnyChar("?&"))) {
    if (absl::StartsWith(part, absl::StrCat(name, "="))) {
      return std::string(part.substr(name.size() + 1));
    }
  }
  return "";
}

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
// The parts of a URL that decide whether it may be called. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyturn::net {

struct Url {
  std::string scheme;  // `https` or `http`
  std::string host;    // lower case; IPv6 without brackets
  int port = 0;        // the scheme's own when not written
  bool has_query_or_fragment = false;
};

// InvalidArgument for anything but an absolute http or https URL with a host and without a user
// part; the message never repeats the URL, which may hold a secret. Read by libcurl's own parser,
// so that what is checked is what is called.
absl::StatusOr<Url> ParseUrl(absl::string_view text);

}  // namespace keyturn::net

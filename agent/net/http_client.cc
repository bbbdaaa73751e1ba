// SPDX-License-Identifier: Apache-2.0
#include "agent/net/http_client.h"

namespace keyturn::net {

absl::string_view HttpReply::Header(absl::string_view lower_case_name) const {
  for (auto header = headers.rbegin(); header != headers.rend(); ++header) {
    if (header->first == lower_case_name) return header->second;
  }
  return {};
}

}  // namespace keyturn::net

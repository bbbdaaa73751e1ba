// SPDX-License-Identifier: Apache-2.0
#include "agent/authn/principal.h"

#include "absl/strings/str_cat.h"

namespace keyturn::authn {

std::string Principal::ToString() const {
  std::string text = absl::StrCat("unix:uid=", uid);
  if (!user.empty()) absl::StrAppend(&text, ",user=", user);
  absl::StrAppend(&text, ",gid=", gid, ",pid=", pid);
  return text;
}

}  // namespace keyturn::authn

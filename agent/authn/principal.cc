// SPDX-License-Identifier: Apache-2.0
#include "agent/authn/principal.h"

#include <errno.h>
#include <signal.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyturn::authn {

std::string Principal::ToString() const {
  std::string text = absl::StrCat("unix:uid=", uid);
  if (!user.empty()) absl::StrAppend(&text, ",user=", user);
  absl::StrAppend(&text, ",gid=", gid, ",pid=", pid);
  return text;
}

bool HasEnded(absl::string_view principal_text) {
  const size_t at = principal_text.rfind(",pid=");
  pid_t pid = 0;
  if (at == absl::string_view::npos || !absl::SimpleAtoi(principal_text.substr(at + 5), &pid) ||
      pid <= 0) {
    return false;
  }
  return kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace keyturn::authn

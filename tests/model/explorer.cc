// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer.h"

#include "absl/strings/str_join.h"

namespace keyturn::model {

std::string Verdict::ToString() const {
  if (violation.empty()) return absl::StrCat("holds, ", states, " states, ", rotated, " rotated");
  return absl::StrCat(violation, " after ", states, " states:\n  ", absl::StrJoin(trace, "\n  "));
}

}  // namespace keyturn::model

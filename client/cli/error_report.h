// SPDX-License-Identifier: Apache-2.0
// Errors as the user sees them: a line that says what failed, and a line that says what to do next.
// Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace keyturn::cli {

struct ErrorContext {
  // Such as "cannot get 'team/key'".
  std::string what = {};
  // The credential the command is about; may be empty.
  std::string name = {};
  // True when the message opens with FILE:LINE:COLUMN and editors are to find it so.
  bool message_has_place = false;
};

// One or more lines, each with its line break.
std::string ErrorText(const ErrorContext& context, const absl::Status& status);

}  // namespace keyturn::cli

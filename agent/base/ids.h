// SPDX-License-Identifier: Apache-2.0
// Identifiers and the rules for names that people choose.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"

namespace keyturn::base {

// 16 random characters of a-z2-7 (80 bits), safe in tags, file names and headers.
std::string NewId(Random& random);

// `length` letters and digits, each as likely as any other: 5.95 bits a character.
Secret NewSecret(Random& random, size_t length);

// OK for 1-253 characters of `a-z 0-9 . _ -` in non-empty segments separated by `/`, none of them
// `.` or `..`. Else InvalidArgument that says what is wrong with it. `what` opens the message.
absl::Status CheckName(absl::string_view what, absl::string_view name);

// Whether `name` matches `glob`: `*` and `?` stay within a segment, a segment `**` stands for any
// number of segments (also none). Everything else matches itself.
bool GlobMatches(absl::string_view glob, absl::string_view name);

}  // namespace keyturn::base

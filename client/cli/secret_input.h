// SPDX-License-Identifier: Apache-2.0
// Secrets typed or piped in: read by read(2) into memory that is wiped, never through a stream's
// buffer; a terminal does not echo them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keyturn/secret_string.h"

namespace keyturn::cli {

// The most that one field may hold.
inline constexpr size_t kFieldBytesMax = 64 * 1024;

// All of `fd` up to `limit` bytes. INVALID_ARGUMENT beyond that.
absl::StatusOr<SecretString> ReadAll(int fd, size_t limit);

// One value from `fd`: without the one line break at its end that `echo` and editors add.
absl::StatusOr<SecretString> ReadValue(int fd);

// Asks on the controlling terminal without echo. CANCELLED after Ctrl-C, the terminal restored.
absl::StatusOr<SecretString> AskHidden(absl::string_view prompt);

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// A credential's value in the forms that `keyturn get` prints. The text is a secret and is treated
// as one. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keyturn/credential.h"

namespace keyturn::cli {

// {"name", "kind", "version", "primary", "fields": {NAME: TEXT}, ...}; a field that is not UTF-8
// stands under "fields_base64" instead. With a line break at the end.
SecretString ValueAsJson(const Credential& credential);

// Lines NAME='VALUE' that a shell and systemd read: the primary field under the credential's name
// in capitals, the others with theirs behind it. INVALID_ARGUMENT for a value that holds NUL.
absl::StatusOr<SecretString> ValueAsEnvironment(const Credential& credential);

// `Authorization: Bearer ...`, with a line break.
absl::StatusOr<SecretString> ValueAsHeader(const Credential& credential);

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// Small files, read and written whole. Errors name the path, the operation and the errno text.
// Thread-safe; all calls block on the disk.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/secret.h"

namespace keyturn::base {

// NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (over max_bytes) or INTERNAL.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

// Writes a new file beside `path`, syncs it, renames it over `path` and syncs the directory, so
// that a crash leaves the old content or the new, never a part.
absl::Status WriteFileDurably(const std::string& path, absl::string_view content, mode_t mode);

// The same without waiting for the disk: whoever reads finds the old content or the new, but after
// a loss of power it may be the old again, or none.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, mode_t mode);

// Renames, and syncs both directories. What has the new name already is replaced.
absl::Status MoveFile(const std::string& from, const std::string& to);

// Makes the directory and its missing parents, the last with `mode`. An existing one is left as is.
absl::Status MakeDirectory(const std::string& path, mode_t mode);

// FAILED_PRECONDITION unless `path` is owned by this process's user (or root) and grants no bit of
// `forbidden_mode` to others. Says which chmod or chown mends it.
absl::Status CheckPrivate(const std::string& path, mode_t forbidden_mode);

}  // namespace keyturn::base

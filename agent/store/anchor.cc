// SPDX-License-Identifier: Apache-2.0
#include "agent/store/anchor.h"

#include "agent/base/file_io.h"

namespace keyturn::store {
namespace {

constexpr size_t kAnchorSizeMax = 4096;

}  // namespace

absl::StatusOr<std::string> FileAnchor::Read() {
  absl::StatusOr<std::string> content = base::ReadFile(path_, kAnchorSizeMax);
  if (absl::IsNotFound(content.status())) return std::string();
  return content;
}

absl::Status FileAnchor::Write(absl::string_view content) {
  return base::WriteFileDurably(path_, content, 0600);
}

void FileAnchor::Note(absl::string_view content) {
  (void)base::WriteFileAtomically(path_, content, 0600);
}

}  // namespace keyturn::store

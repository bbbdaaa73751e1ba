// SPDX-License-Identifier: Apache-2.0
// A whole store in one file (docs/formats/backup.md): its header, so that the same KEK opens it,
// then every row as it lies in the database, sealed once more, so that not even names can be read.
// What is read back is the store that was written, or nothing. Calls block; used from one thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/random.h"
#include "agent/crypto/kek_source.h"
#include "agent/crypto/keyring.h"
#include "agent/store/backend.h"

namespace keyturn::store {

// The plaintext of a chunk; one longer row is a chunk of its own.
inline constexpr size_t kBackupChunkBytes = size_t{64} << 10;

// The backup in pieces that only have to be put behind one another. `rows`: all there are.
std::vector<std::string> WriteBackup(const crypto::Keyring& keyring,
                                     const std::vector<Entry>& rows);

struct BackupContents {
  // In the order of their keys; what Commit takes.
  std::vector<Write> rows;
  std::string agent_id;
  size_t credentials = 0;
  // Of its manifest: how many commits the store had seen.
  uint64_t epoch = 0;
};

// Checks all that can be checked: each chunk, that the last is there, that the manifest agrees,
// that every row opens and can be read. DATA_LOSS says what is wrong, FAILED_PRECONDITION that the
// KEK is not the one of this backup.
absl::StatusOr<BackupContents> ReadBackup(absl::string_view backup, crypto::KekSource& kek,
                                          base::Random& random);

// Into an empty backend.
absl::Status Restore(const BackupContents& contents, Backend& backend);

}  // namespace keyturn::store

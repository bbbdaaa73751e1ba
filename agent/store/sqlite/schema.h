// SPDX-License-Identifier: Apache-2.0
// The schema of the database and the way from each version to the next (docs/formats/store.md,
// "Schema"). A released migration is never changed; a new one is added behind it.
#pragma once

#include <sqlite3.h>

#include <string>

#include "absl/status/status.h"

namespace keyturn::store {

// The version that this program reads and writes.
int SchemaVersion();

// Judges an opened file before anything is written to it. FAILED_PRECONDITION for a database that
// is not Keyturn's or has a later schema; DATA_LOSS for one that is damaged.
absl::Status CheckSchema(sqlite3* db, const std::string& path);

// Brings the database to SchemaVersion, each step in a transaction of its own.
absl::Status Migrate(sqlite3* db, const std::string& path);

}  // namespace keyturn::store

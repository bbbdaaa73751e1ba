// SPDX-License-Identifier: Apache-2.0
#include "agent/store/sqlite/schema.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "agent/store/sqlite/statement.h"

namespace keyturn::store {
namespace {

// "KTRN": `file` and sqlite3 show whose database it is.
constexpr int64_t kApplicationId = 0x4b54524e;

struct Migration {
  // The first keyturnd that knows this schema; an older one names it when it refuses the store.
  const char* since;
  const char* sql;
};

// The one at index i leads from schema i to schema i + 1.
constexpr Migration kMigrations[] = {
    {"0.1.0", R"sql(
      CREATE TABLE migration (
        schema INTEGER PRIMARY KEY,
        since  TEXT NOT NULL
      ) STRICT;
      CREATE TABLE entry (
        key      BLOB NOT NULL PRIMARY KEY,
        value    BLOB NOT NULL,
        revision INTEGER NOT NULL
      ) STRICT;
      CREATE TABLE revision (
        id   INTEGER PRIMARY KEY CHECK (id = 1),
        last INTEGER NOT NULL
      ) STRICT;
      INSERT INTO revision (id, last) VALUES (1, 0);
    )sql"},
};

absl::Status Exec(sqlite3* db, const std::string& sql, absl::string_view what) {
  const int result = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? absl::OkStatus() : SqliteError(db, result, what);
}

absl::Status ReadNumber(sqlite3* db, absl::string_view sql, const std::string& path,
                        uint64_t& number) {
  Statement statement;
  if (absl::Status s = statement.Prepare(db, sql); !s.ok()) {
    return absl::Status(s.code(), absl::StrCat(path, ": ", s.message()));
  }
  const int result = statement.Step();
  if (result != SQLITE_ROW) return SqliteError(db, result, absl::StrCat("cannot read ", path));
  number = statement.Number(0);
  return absl::OkStatus();
}

// The keyturnd that brought `schema`, as the store itself says; empty when it does not.
std::string KeyturndOf(sqlite3* db, uint64_t schema) {
  Statement statement;
  if (!statement.Prepare(db, "SELECT since FROM migration WHERE schema = ?").ok()) return {};
  return statement.Bind(1, schema).Step() == SQLITE_ROW ? statement.Bytes(0) : std::string();
}

absl::Status QuickCheck(sqlite3* db, const std::string& path) {
  Statement statement;
  const std::string what = absl::StrCat("cannot check the store ", path);
  if (absl::Status s = statement.Prepare(db, "PRAGMA quick_check(1)"); !s.ok()) return s;
  const int result = statement.Step();
  if (result != SQLITE_ROW) return SqliteError(db, result, what);
  const std::string verdict = statement.Bytes(0);
  if (verdict == "ok") return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the store ", path, " is damaged (", verdict, "): restore it from a backup"));
}

}  // namespace

int SchemaVersion() { return static_cast<int>(std::size(kMigrations)); }

absl::Status CheckSchema(sqlite3* db, const std::string& path) {
  uint64_t application = 0, schema = 0;
  if (absl::Status s = ReadNumber(db, "PRAGMA application_id", path, application); !s.ok())
    return s;
  if (absl::Status s = ReadNumber(db, "PRAGMA user_version", path, schema); !s.ok()) return s;
  if (application != static_cast<uint64_t>(kApplicationId)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is a database of another program, not a Keyturn store"));
  }
  if (schema > static_cast<uint64_t>(SchemaVersion())) {
    const std::string since = KeyturndOf(db, schema);
    return absl::FailedPreconditionError(absl::StrCat(
        "the store ", path, " has schema ", schema, ", this keyturnd (", KEYTURN_VERSION,
        ") knows schemas up to ", SchemaVersion(), "; use a keyturnd of at least version ",
        since.empty() ? "the one that wrote it" : since));
  }
  if (schema == 0) {
    return absl::DataLossError(
        absl::StrCat("the store ", path, " has no schema: restore it from a backup"));
  }
  return QuickCheck(db, path);
}

absl::Status Migrate(sqlite3* db, const std::string& path) {
  uint64_t schema = 0;
  if (absl::Status s = ReadNumber(db, "PRAGMA user_version", path, schema); !s.ok()) return s;
  for (; schema < std::size(kMigrations); ++schema) {
    const Migration& migration = kMigrations[schema];
    const std::string sql = absl::StrCat(
        "BEGIN IMMEDIATE;", "PRAGMA application_id = ", kApplicationId, ";", migration.sql,
        "INSERT INTO migration (schema, since) VALUES (", schema + 1, ", '", migration.since, "');",
        "PRAGMA user_version = ", schema + 1, ";", "COMMIT");
    absl::Status migrated =
        Exec(db, sql, absl::StrCat("cannot bring ", path, " to schema ", schema + 1));
    if (!migrated.ok()) {
      sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
      return migrated;
    }
  }
  return absl::OkStatus();
}

}  // namespace keyturn::store

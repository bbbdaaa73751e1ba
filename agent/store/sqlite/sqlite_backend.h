// SPDX-License-Identifier: Apache-2.0
// The embedded Backend: one SQLite database in WAL mode with synchronous=FULL, held by one process
// (docs/formats/store.md, "Database"). The directory is 0700, all files 0600. A store file is
// either absent or whole: a new one gets its name only when it is ready. Thread-safe: one
// connection, used by one thread at a time.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/store/backend.h"
#include "agent/store/sqlite/process_lock.h"
#include "agent/store/sqlite/statement.h"

namespace keyturn::store {

class SqliteBackend final : public Backend {
 public:
  // Opens the store at `path` or makes a new one, with a directory for it where there is none.
  //   FAILED_PRECONDITION  in use by another process, open to others, of a later schema, or the
  //                        database of another program
  //   DATA_LOSS            damaged
  // Blocks for a check of the whole file (some 100 ms for each 100 MB).
  static absl::StatusOr<std::unique_ptr<SqliteBackend>> Open(const std::string& path);
  ~SqliteBackend() override;

  BatchLimits limits() const override { return {100'000, size_t{64} << 20}; }
  absl::StatusOr<std::optional<Entry>> Get(absl::string_view key) override;
  absl::StatusOr<std::vector<Entry>> Scan(absl::string_view prefix) override;
  absl::StatusOr<Revision> Commit(const std::vector<Guard>& guards,
                                  const std::vector<Write>& writes) override;

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  using Database = std::unique_ptr<sqlite3, Close>;

  SqliteBackend(std::string path, ProcessLock lock, Database db)
      : path_(std::move(path)), lock_(std::move(lock)), db_(std::move(db)) {}

  static absl::StatusOr<Database> OpenDatabase(const std::string& path);
  static absl::Status CreateDatabase(const std::string& path);
  absl::Status PrepareStatements() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Revision> Write(const std::vector<Guard>& guards,
                                 const std::vector<store::Write>& writes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckGuards(const std::vector<Guard>& guards) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CommitTransaction() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Run(Statement& statement, absl::string_view what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Failure(int result, absl::string_view what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string path_;
  // Given back last, after the database is closed.
  const ProcessLock lock_;
  // Held during I/O: a connection can do one thing at a time, so the lock is the connection.
  absl::Mutex mu_;
  Database db_ ABSL_GUARDED_BY(mu_);
  // Declared after db_, so that they are gone when it closes.
  Statement begin_ ABSL_GUARDED_BY(mu_);
  Statement commit_ ABSL_GUARDED_BY(mu_);
  Statement rollback_ ABSL_GUARDED_BY(mu_);
  Statement get_ ABSL_GUARDED_BY(mu_);
  Statement scan_ ABSL_GUARDED_BY(mu_);
  Statement revision_ ABSL_GUARDED_BY(mu_);
  Statement put_ ABSL_GUARDED_BY(mu_);
  Statement delete_ ABSL_GUARDED_BY(mu_);
  Statement next_revision_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
#include "agent/store/sqlite/sqlite_backend.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/base/file_io.h"
#include "agent/store/sqlite/schema.h"

namespace keyturn::store {
namespace {

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

absl::Status FileFailure(absl::string_view operation, const std::string& path) {
  return absl::InternalError(
      absl::StrCat("cannot ", operation, " ", path, ": ", std::generic_category().message(errno)));
}

absl::Status CheckDirectory(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return FileFailure("examine", path);
  if ((info.st_mode & 077) == 0) return base::CheckPrivate(path, 077);
  return absl::FailedPreconditionError(absl::StrFormat(
      "directory %s has mode %04o; the store needs a directory of its own that only the agent may "
      "enter: set store.path to a file in a new one, or chmod 0700 if nothing else is in it",
      path, info.st_mode & 07777));
}

absl::Status SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileFailure("open", path);
  const int result = fsync(fd);
  close(fd);
  return result == 0 ? absl::OkStatus() : FileFailure("sync", path);
}

absl::Status Configure(sqlite3* db, const std::string& path) {
  sqlite3_busy_timeout(db, 1000);
  sqlite3_extended_result_codes(db, 1);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  const int result = sqlite3_exec(db,
                                  "PRAGMA synchronous = FULL;"
                                  "PRAGMA secure_delete = ON;"
                                  "PRAGMA cell_size_check = ON;"
                                  "PRAGMA temp_store = MEMORY;"
                                  "PRAGMA mmap_size = 0",
                                  nullptr, nullptr, nullptr);
  if (result == SQLITE_OK) return absl::OkStatus();
  return SqliteError(db, result, absl::StrCat("cannot set up the store ", path));
}

// Reads, and for a new file sets, the journal mode; SQLite answers with the mode that is in force.
absl::Status UseWal(sqlite3* db, const std::string& path) {
  Statement statement;
  if (absl::Status s = statement.Prepare(db, "PRAGMA journal_mode = WAL"); !s.ok()) return s;
  const int result = statement.Step();
  if (result != SQLITE_ROW) {
    return SqliteError(db, result, absl::StrCat("cannot write to the store ", path));
  }
  if (statement.Bytes(0) == "wal") return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path, " lies on a file system without shared memory for files; use a local one"));
}

// What the WAL of a process that died holds may never have been synced. It is brought into the
// database, and that synced, before anybody acts on it. The WAL itself is synced first, for which
// a full disk has room; what else it hinders is done later.
absl::Status Checkpoint(sqlite3* db, const std::string& path) {
  errno = 0;
  const int result =
      sqlite3_wal_checkpoint_v2(db, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (result == SQLITE_OK) return absl::OkStatus();
  absl::Status failure = SqliteError(db, result, absl::StrCat("cannot write to the store ", path));
  return absl::IsResourceExhausted(failure) ? absl::OkStatus() : failure;
}

}  // namespace

absl::StatusOr<SqliteBackend::Database> SqliteBackend::OpenDatabase(const std::string& path) {
  sqlite3* raw = nullptr;
  // Never SQLITE_OPEN_CREATE: files are made with their mode, by CreateDatabase alone.
  const int result =
      sqlite3_open_v2(path.c_str(), &raw,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  Database db(raw);
  if (result != SQLITE_OK) {
    return SqliteError(raw, result, absl::StrCat("cannot open the store ", path));
  }
  if (absl::Status s = Configure(raw, path); !s.ok()) return s;
  return db;
}

absl::Status SqliteBackend::CreateDatabase(const std::string& path) {
  const std::string draft = path + ".new";
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) unlink((draft + suffix).c_str());
  const int fd = open(draft.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return FileFailure("create", draft);
  close(fd);
  {
    absl::StatusOr<Database> db = OpenDatabase(draft);
    if (!db.ok()) return db.status();
    // Not in WAL mode yet: all of it is in the one file when this is closed.
    if (absl::Status s = Migrate(db->get(), draft); !s.ok()) return s;
  }
  if (rename(draft.c_str(), path.c_str()) != 0) return FileFailure("rename to", path);
  return SyncDirectory(ParentOf(path));
}

absl::StatusOr<std::unique_ptr<SqliteBackend>> SqliteBackend::Open(const std::string& path) {
  const std::string directory = ParentOf(path);
  if (absl::Status s = base::MakeDirectory(directory, 0700); !s.ok()) return s;
  if (absl::Status s = CheckDirectory(directory); !s.ok()) return s;
  absl::StatusOr<ProcessLock> lock = ProcessLock::Take(path);
  if (!lock.ok()) return lock.status();

  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) return FileFailure("examine", path);
    if (absl::Status s = CreateDatabase(path); !s.ok()) return s;
  } else if (info.st_size == 0) {
    return absl::DataLossError(
        absl::StrCat("the store ", path, " is empty: restore it from a backup"));
  }
  if (absl::Status s = base::CheckPrivate(path, 077); !s.ok()) return s;

  absl::StatusOr<Database> db = OpenDatabase(path);
  if (!db.ok()) return db.status();
  if (absl::Status s = CheckSchema(db->get(), path); !s.ok()) return s;
  if (absl::Status s = UseWal(db->get(), path); !s.ok()) return s;
  if (absl::Status s = Migrate(db->get(), path); !s.ok()) return s;
  if (absl::Status s = Checkpoint(db->get(), path); !s.ok()) return s;

  auto backend =
      std::unique_ptr<SqliteBackend>(new SqliteBackend(path, *std::move(lock), *std::move(db)));
  absl::MutexLock hold(&backend->mu_);
  if (absl::Status s = backend->PrepareStatements(); !s.ok()) return s;
  return backend;
}

SqliteBackend::~SqliteBackend() = default;

absl::Status SqliteBackend::PrepareStatements() {
  const std::pair<Statement*, const char*> statements[] = {
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},
      {&get_, "SELECT value, revision FROM entry WHERE key = ?"},
      {&scan_, "SELECT key, value, revision FROM entry WHERE key >= ? ORDER BY key"},
      {&revision_, "SELECT revision FROM entry WHERE key = ?"},
      {&put_,
       "INSERT INTO entry (key, value, revision) VALUES (?, ?, ?) "
       "ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision"},
      {&delete_, "DELETE FROM entry WHERE key = ?"},
      {&next_revision_, "UPDATE revision SET last = last + 1 WHERE id = 1 RETURNING last"},
  };
  for (const auto& [statement, sql] : statements) {
    if (absl::Status s = statement->Prepare(db_.get(), sql); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status SqliteBackend::Failure(int result, absl::string_view what) {
  return SqliteError(db_.get(), result, absl::StrCat("cannot ", what, " the store ", path_));
}

absl::Status SqliteBackend::Run(Statement& statement, absl::string_view what) {
  const int result = statement.Run();
  return result == SQLITE_DONE ? absl::OkStatus() : Failure(result, what);
}

absl::StatusOr<std::optional<Entry>> SqliteBackend::Get(absl::string_view key) {
  absl::MutexLock hold(&mu_);
  StatementUse get(get_);
  const int result = get->Bind(1, key).Step();
  if (result == SQLITE_DONE) return std::optional<Entry>();
  if (result != SQLITE_ROW) return Failure(result, "read");
  return std::optional<Entry>(Entry{std::string(key), get->Bytes(0), get->Number(1)});
}

absl::StatusOr<std::vector<Entry>> SqliteBackend::Scan(absl::string_view prefix) {
  absl::MutexLock hold(&mu_);
  StatementUse scan(scan_);
  scan->Bind(1, prefix);
  std::vector<Entry> entries;
  for (;;) {
    const int result = scan->Step();
    if (result == SQLITE_DONE) return entries;
    if (result != SQLITE_ROW) return Failure(result, "read");
    std::string key = scan->Bytes(0);
    if (!absl::StartsWith(key, prefix)) return entries;
    entries.push_back({std::move(key), scan->Bytes(1), scan->Number(2)});
  }
}

absl::StatusOr<Revision> SqliteBackend::Commit(const std::vector<Guard>& guards,
                                               const std::vector<store::Write>& writes) {
  if (absl::Status s = CheckBatch(limits(), guards, writes); !s.ok()) return s;
  absl::MutexLock hold(&mu_);
  if (absl::Status s = Run(begin_, "write to"); !s.ok()) return s;
  const absl::StatusOr<Revision> written = Write(guards, writes);
  if (!written.ok()) {
    // SQLite has rolled back by itself after some errors; then this fails without harm.
    rollback_.Run();
    return written.status();
  }
  if (absl::Status s = CommitTransaction(); !s.ok()) return s;
  return *written;
}

absl::StatusOr<Revision> SqliteBackend::Write(const std::vector<Guard>& guards,
                                              const std::vector<store::Write>& writes) {
  if (absl::Status s = CheckGuards(guards); !s.ok()) return s;
  Revision revision = 0;
  {
    StatementUse next(next_revision_);
    const int result = next->Step();
    if (result != SQLITE_ROW) return Failure(result, "write to");
    revision = next->Number(0);
  }
  for (const store::Write& write : writes) {
    Statement& statement = write.value.has_value() ? put_ : delete_;
    statement.Bind(1, write.key);
    if (write.value.has_value()) statement.Bind(2, *write.value).Bind(3, revision);
    if (absl::Status s = Run(statement, "write to"); !s.ok()) return s;
  }
  return revision;
}

absl::Status SqliteBackend::CheckGuards(const std::vector<Guard>& guards) {
  for (const Guard& guard : guards) {
    StatementUse revision(revision_);
    const int result = revision->Bind(1, guard.key).Step();
    if (result != SQLITE_ROW && result != SQLITE_DONE) return Failure(result, "read");
    const Revision found = result == SQLITE_ROW ? revision->Number(0) : 0;
    if (found != guard.revision) {
      return absl::AbortedError(absl::StrCat("row ", guard.key, " is at revision ", found, ", not ",
                                             guard.revision, ": somebody else has written it"));
    }
  }
  return absl::OkStatus();
}

absl::Status SqliteBackend::CommitTransaction() {
  const int result = commit_.Run();
  if (result == SQLITE_DONE) return absl::OkStatus();
  absl::Status failure = Failure(result, "commit to");
  if (sqlite3_get_autocommit(db_.get()) == 0) rollback_.Run();
  if ((result & 0xff) == SQLITE_FULL || (result & 0xff) == SQLITE_BUSY) return failure;
  // The frames of this commit may be whole in the WAL although syncing them failed, and a restart
  // would take them for committed. Another commit lies over them; only then it is certain that
  // nothing was written. Syncing again would prove nothing: the system may have dropped what it
  // could not write.
  if (Run(begin_, "write to").ok()) {
    if (next_revision_.Run() == SQLITE_DONE && commit_.Run() == SQLITE_DONE) return failure;
    rollback_.Run();
  }
  return absl::UnavailableError(absl::StrCat(
      failure.message(),
      "; should keyturnd end before it can store its next change, this one may turn out stored"));
}

}  // namespace keyturn::store

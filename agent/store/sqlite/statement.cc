// SPDX-License-Identifier: Apache-2.0
#include "agent/store/sqlite/statement.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "agent/base/check.h"

namespace keyturn::store {

absl::Status SqliteError(sqlite3* db, int result, absl::string_view what) {
  // SQLite keeps the errno of what fails on opening, but not of what fails in a statement; there
  // Step has left it in errno.
  const int in_step = errno;
  const int on_open = db == nullptr ? 0 : sqlite3_system_errno(db);
  const int system_error = on_open != 0 ? on_open : in_step;
  std::string message = absl::StrCat(what, ": ", sqlite3_errstr(result));
  const int kind = result & 0xff;
  // It is that of the last system call that failed, so it explains input and output errors only.
  const bool io = kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN || kind == SQLITE_FULL;
  if (io && system_error != 0)
    absl::StrAppend(&message, " (", std::generic_category().message(system_error), ")");
  const bool full = system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG;
  if (io && (kind == SQLITE_FULL || full)) {
    return absl::ResourceExhaustedError(absl::StrCat(message, "; make room on its file system"));
  }
  switch (kind) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(
          absl::StrCat(message, "; the file is damaged: restore it from a backup"));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status Statement::Prepare(sqlite3* db, absl::string_view sql) {
  const int result = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  return result == SQLITE_OK ? absl::OkStatus() : SqliteError(db, result, "cannot use the store");
}

Statement& Statement::Bind(int index, absl::string_view bytes) {
  // A null pointer would bind NULL instead of no bytes.
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  KEYTURN_CHECK(
      sqlite3_bind_blob64(statement_, index, data, bytes.size(), SQLITE_STATIC) == SQLITE_OK,
      "a parameter of a statement of ours");
  return *this;
}

Statement& Statement::Bind(int index, uint64_t number) {
  KEYTURN_CHECK(
      sqlite3_bind_int64(statement_, index, static_cast<sqlite3_int64>(number)) == SQLITE_OK,
      "a parameter of a statement of ours");
  return *this;
}

int Statement::Step() {
  errno = 0;
  return sqlite3_step(statement_);
}

int Statement::Run() {
  int result = Step();
  while (result == SQLITE_ROW) result = Step();
  const int error = errno;
  Reset();
  errno = error;
  return result;
}

void Statement::Reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::string Statement::Bytes(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(data, static_cast<size_t>(size));
}

uint64_t Statement::Number(int column) const {
  return static_cast<uint64_t>(sqlite3_column_int64(statement_, column));
}

}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
// A prepared SQLite statement that is kept and used again, and the words for what SQLite says when
// it fails. As thread-safe as its connection, which is to say not at all.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace keyturn::store {

// What has just failed on the connection, as a Status:
//   RESOURCE_EXHAUSTED  the disk or the quota is full
//   DATA_LOSS           the file is damaged or no database
//   UNAVAILABLE         somebody else holds the database
//   INTERNAL            else
// `what` opens the message, such as `cannot read the store /x/y`.
absl::Status SqliteError(sqlite3* db, int result, absl::string_view what);

class Statement {
 public:
  Statement() = default;
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  absl::Status Prepare(sqlite3* db, absl::string_view sql);

  // Parameters count from 1, columns from 0. Bound bytes must live until Reset.
  Statement& Bind(int index, absl::string_view bytes);
  Statement& Bind(int index, uint64_t number);
  // SQLITE_ROW, SQLITE_DONE or an error of SQLite's, then with errno as the failed call set it.
  int Step();
  // Steps to the end and resets: SQLITE_DONE or an error, errno as above.
  int Run();
  void Reset();

  std::string Bytes(int column) const;
  uint64_t Number(int column) const;

 private:
  sqlite3_stmt* statement_ = nullptr;
};

// Resets a statement on every path out of a scope; an unreset one keeps its transaction open.
class StatementUse {
 public:
  explicit StatementUse(Statement& statement) : statement_(statement) {}
  ~StatementUse() { statement_.Reset(); }
  StatementUse(const StatementUse&) = delete;
  StatementUse& operator=(const StatementUse&) = delete;
  Statement* operator->() { return &statement_; }

 private:
  Statement& statement_;
};

}  // namespace keyturn::store

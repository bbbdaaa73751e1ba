// SPDX-License-Identifier: Apache-2.0
// What the conformance suite cannot ask: files, modes, locks, schemas, damage and a full disk.
#include "agent/store/sqlite/sqlite_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/base/file_io.h"
#include "agent/store/sealed_store.h"
#include "agent/store/sqlite/schema.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/fixed_kek_source.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::store {
namespace {

using testing::HasSubstr;

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

class SqliteBackendTest : public testing::Test {
 protected:
  absl::Status OpenStatus() { return SqliteBackend::Open(path_).status(); }

  void Fill(int rows) {
    auto backend = SqliteBackend::Open(path_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    std::vector<Write> writes;
    for (int i = 0; i < rows; ++i) writes.push_back({absl::StrCat("k", i), std::string(4000, 'x')});
    ASSERT_TRUE((*backend)->Commit({}, writes).ok());
  }

  // As another program, or another keyturnd, would.
  void Sql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(error);
    sqlite3_close(db);
    chmod(path_.c_str(), 0600);
  }

  fakes::TemporaryDirectory directory_;
  const std::string path_ = directory_.File("state/store.db");
};

TEST_F(SqliteBackendTest, FilesArePrivateWhateverTheUmask) {
  const mode_t before = umask(0);
  {
    auto backend = SqliteBackend::Open(path_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    ASSERT_TRUE((*backend)->Commit({}, {{"a", "b"}}).ok());
    EXPECT_EQ(ModeOf(directory_.File("state")), 0700u);
    int files = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory_.File("state"))) {
      EXPECT_EQ(ModeOf(file.path().string()), 0600u) << file.path();
      ++files;
    }
    EXPECT_EQ(files, 4) << "database, WAL, its index and the lock; no draft";
  }
  umask(before);
}

TEST_F(SqliteBackendTest, OpenDirectoriesAndFilesAreRefused) {
  Fill(1);
  ASSERT_EQ(chmod(path_.c_str(), 0640), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenStatus()));
  EXPECT_THAT(std::string(OpenStatus().message()), HasSubstr("chmod"));
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  ASSERT_EQ(chmod(directory_.File("state").c_str(), 0755), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenStatus()));
  EXPECT_THAT(std::string(OpenStatus().message()), HasSubstr("directory of its own"));
  ASSERT_EQ(chmod(directory_.File("state").c_str(), 0700), 0);
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(SqliteBackendTest, ASecondProcessIsToldWhoHoldsTheStore) {
  auto backend = SqliteBackend::Open(path_);
  ASSERT_TRUE(backend.ok());
  const std::string expected = absl::StrCat("store ", path_, " is in use by process ", getpid());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const absl::Status status = SqliteBackend::Open(path_).status();
    _exit(absl::IsFailedPrecondition(status) && status.message() == expected ? 0 : 1);
  }
  int result = 0;
  ASSERT_EQ(waitpid(child, &result, 0), child);
  EXPECT_TRUE(WIFEXITED(result) && WEXITSTATUS(result) == 0);
  backend->reset();
  EXPECT_TRUE(OpenStatus().ok()) << "given back when closed";
}

TEST_F(SqliteBackendTest, ACommitSurvivesAProcessThatEndsWithoutClosing) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto backend = SqliteBackend::Open(path_);
    const bool ok = backend.ok() && (*backend)->Commit({}, {{"a", "b"}}).ok();
    _exit(ok ? 0 : 1);
  }
  int result = 0;
  ASSERT_EQ(waitpid(child, &result, 0), child);
  ASSERT_TRUE(WIFEXITED(result) && WEXITSTATUS(result) == 0);
  auto backend = SqliteBackend::Open(path_);
  ASSERT_TRUE(backend.ok()) << backend.status();
  const auto entry = (*backend)->Get("a");
  ASSERT_TRUE(entry.ok() && entry->has_value());
  EXPECT_EQ((*entry)->value, "b");
}

TEST_F(SqliteBackendTest, ALaterSchemaIsRefusedWithTheVersionThatKnowsIt) {
  Fill(1);
  Sql("INSERT INTO migration (schema, since) VALUES (7, '9.8.7'); PRAGMA user_version = 7");
  const auto before = base::ReadFile(path_, 1 << 20);
  const absl::Status status = OpenStatus();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("has schema 7"));
  EXPECT_THAT(message, HasSubstr(absl::StrCat("knows schemas up to ", SchemaVersion())));
  EXPECT_THAT(message, HasSubstr("use a keyturnd of at least version 9.8.7"));
  EXPECT_TRUE(*base::ReadFile(path_, 1 << 20) == *before) << "the file is left as it was";
}

TEST_F(SqliteBackendTest, ADatabaseOfAnotherProgramIsLeftAlone) {
  ASSERT_TRUE(base::MakeDirectory(directory_.File("state"), 0700).ok());
  Sql("CREATE TABLE t (x); PRAGMA user_version = 1");
  const absl::Status status = OpenStatus();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("another program"));
}

TEST_F(SqliteBackendTest, DamageIsDataLossAndNamesTheFile) {
  Fill(100);
  const std::string whole = *base::ReadFile(path_, 10 << 20);
  std::string garbled = whole;
  garbled.replace(garbled.size() / 2, 8192, std::string(8192, '\x5a'));
  for (const std::string& bad :
       {std::string(), std::string("not a database at all"), whole.substr(0, 100),
        whole.substr(0, 4096), whole.substr(0, whole.size() / 2), garbled}) {
    ASSERT_TRUE(base::WriteFileDurably(path_, bad, 0600).ok());
    const absl::Status status = OpenStatus();
    EXPECT_TRUE(absl::IsDataLoss(status)) << bad.size() << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("backup"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  }
  ASSERT_TRUE(base::WriteFileDurably(path_, whole, 0600).ok());
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(SqliteBackendTest, ADraftOfAnInterruptedFirstStartIsNoStore) {
  ASSERT_TRUE(base::MakeDirectory(directory_.File("state"), 0700).ok());
  ASSERT_TRUE(base::WriteFileDurably(path_ + ".new", "half", 0600).ok());
  EXPECT_TRUE(OpenStatus().ok());
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

// A file size limit makes write(2) fail as a full disk or quota does, for this process alone.
TEST_F(SqliteBackendTest, AFullDiskFailsTheCommitAndKeepsWhatWasThere) {
  Fill(1);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    auto backend = SqliteBackend::Open(path_);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 100'000;
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto too_much =
        (*backend)->Commit({}, {{"k0", "new"}, {"big", std::string(1 << 20, 'x')}});
    if (!absl::IsResourceExhausted(too_much.status())) _exit(1);
    const auto kept = (*backend)->Get("k0");
    if (!kept.ok() || !kept->has_value() || (*kept)->value != std::string(4000, 'x')) _exit(2);
    _exit((*backend)->Commit({}, {{"small", "fits"}}).ok() ? 0 : 3);
  }
  int result = 0;
  ASSERT_EQ(waitpid(child, &result, 0), child);
  ASSERT_TRUE(WIFEXITED(result));
  EXPECT_EQ(WEXITSTATUS(result), 0);
  auto backend = SqliteBackend::Open(path_);
  ASSERT_TRUE(backend.ok()) << backend.status();
  const auto big = (*backend)->Get("big"), small = (*backend)->Get("small");
  EXPECT_TRUE(big.ok() && !big->has_value());
  EXPECT_TRUE(small.ok() && small->has_value());
}

TEST_F(SqliteBackendTest, ASealedStoreOnAFileComesBackWhole) {
  fakes::FixedKekSource kek;
  std::string agent;
  {
    auto backend = SqliteBackend::Open(path_);
    auto store = SealedStore::Open(**backend, kek, base::SystemRandom());
    ASSERT_TRUE(store.ok()) << store.status();
    agent = (*store)->agent_id();
    Transaction transaction;
    VersionRecord version;
    version.credential = "a/b";
    version.number = 1;
    version.value = base::CredentialValue::Of(base::Secret("marked-secret"));
    transaction.Put(std::move(version));
    ASSERT_TRUE((*store)->Commit(transaction).ok());
    for (const auto& file : std::filesystem::directory_iterator(directory_.File("state"))) {
      const std::string bytes = *base::ReadFile(file.path().string(), 100 << 20);
      EXPECT_EQ(bytes.find("marked-secret"), std::string::npos) << file.path();
    }
  }
  auto backend = SqliteBackend::Open(path_);
  auto store = SealedStore::Open(**backend, kek, base::SystemRandom());
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->agent_id(), agent);
  const auto records = (*store)->LoadAll();
  ASSERT_TRUE(records.ok());
  ASSERT_EQ(records->size(), 1u);
  EXPECT_EQ(std::get<VersionRecord>(records->front()).value.Primary()->Reveal(), "marked-secret");
}

}  // namespace
}  // namespace keyturn::store

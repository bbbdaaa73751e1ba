// SPDX-License-Identifier: Apache-2.0
// A backup gives back the store that was written, into a new database, or says what is wrong.
#include "agent/store/backup.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/store/record_codec.h"
#include "agent/store/sealed_store.h"
#include "agent/store/sqlite/sqlite_backend.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/fixed_kek_source.h"
#include "tests/fakes/memory_backend.h"
#include "tests/fakes/sample_records.h"
#include "tests/fakes/seeded_random.h"
#include "tests/fakes/temporary_directory.h"
#include "tests/fakes/test_store.h"

namespace keyturn::store {
namespace {

class BackupTest : public testing::Test {
 protected:
  BackupTest() {
    Transaction transaction;
    for (Record& record : fakes::SampleRecords()) transaction.Put(std::move(record));
    EXPECT_TRUE(house_.store().Commit(transaction).ok());
  }
  std::string Backup() {
    const auto pieces = house_.store().Backup();
    EXPECT_TRUE(pieces.ok()) << pieces.status();
    return absl::StrJoin(*pieces, "");
  }
  absl::StatusOr<BackupContents> Read(absl::string_view backup) {
    return ReadBackup(backup, kek_, random_);
  }
  static std::map<std::string, std::string> Contents(SealedStore& store) {
    std::map<std::string, std::string> contents;
    const auto records = store.LoadAll();
    EXPECT_TRUE(records.ok()) << records.status();
    for (const Record& record : *records) {
      contents[KeyOf(record)] = std::string(EncodeRecord(record).Reveal());
    }
    return contents;
  }

  fakes::TestStore house_;
  fakes::FixedKekSource kek_;
  fakes::SeededRandom random_{3};
};

TEST_F(BackupTest, GivesTheStoreBackIntoANewDatabase) {
  const std::string backup = Backup();
  const auto contents = Read(backup);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->agent_id, "testag");
  EXPECT_EQ(contents->epoch, house_.store().epoch());
  EXPECT_GT(contents->credentials, 0u);
  fakes::TemporaryDirectory directory;
  auto backend = SqliteBackend::Open(directory.path() + "/store.db");
  ASSERT_TRUE(backend.ok()) << backend.status();
  ASSERT_TRUE(Restore(*contents, **backend).ok());
  auto store = SealedStore::Open(**backend, kek_, random_);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE((*store)->CheckIntegrity().ok()) << (*store)->CheckIntegrity();
  EXPECT_EQ(Contents(**store), Contents(house_.store()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Restore(*contents, **backend))) << "not into a full one";
}

TEST_F(BackupTest, ALargeOneHasManyChunks) {
  for (int i = 0; i < 40; ++i) {
    Transaction transaction;
    VersionRecord version;
    version.credential = absl::StrCat("large/", i);
    version.number = 1;
    version.value = base::CredentialValue::Of(base::Secret(std::string(10'000, 'v')));
    transaction.Put(std::move(version));
    ASSERT_TRUE(house_.store().Commit(transaction).ok());
  }
  const auto pieces = house_.store().Backup();
  ASSERT_TRUE(pieces.ok());
  EXPECT_GT(pieces->size(), 5u);
  const auto contents = Read(absl::StrJoin(*pieces, ""));
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->rows.size(), house_.backend().Save().entries.size());
  // Whole chunks that are missing, twice there, or in each other's place.
  for (size_t i = 1; i < pieces->size(); ++i) {
    std::vector<std::string> changed = *pieces;
    changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_TRUE(absl::IsDataLoss(Read(absl::StrJoin(changed, "")).status())) << i;
    changed = *pieces;
    changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), changed[i]);
    EXPECT_TRUE(absl::IsDataLoss(Read(absl::StrJoin(changed, "")).status())) << i;
    if (i + 1 == pieces->size()) continue;
    changed = *pieces;
    std::swap(changed[i], changed[i + 1]);
    EXPECT_TRUE(absl::IsDataLoss(Read(absl::StrJoin(changed, "")).status())) << i;
  }
}

TEST_F(BackupTest, EveryByteAndEveryEndOfItCounts) {
  const std::string good = Backup();
  for (size_t i = 0; i < good.size(); i += i < 300 ? 1 : 7) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_FALSE(Read(bad).ok()) << "byte " << i;
    EXPECT_FALSE(Read(good.substr(0, i)).ok()) << "cut at " << i;
  }
  EXPECT_TRUE(absl::IsDataLoss(Read(good + "x").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Read("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Read("SQLite format 3").status()));
}

TEST_F(BackupTest, ShowsNoNamesAndNoOtherKekOpensIt) {
  const std::string backup = Backup();
  for (const Record& record : fakes::SampleRecords()) {
    EXPECT_FALSE(absl::StrContains(backup, KeyOf(record))) << KeyOf(record);
  }
  fakes::FixedKekSource other('o');
  const absl::Status status = ReadBackup(backup, other, random_).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST_F(BackupTest, TwoOfTheSameStoreAreDifferentAndTheirPartsDoNotMix) {
  const auto one = house_.store().Backup();
  const auto two = house_.store().Backup();
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_NE(*one, *two);
  EXPECT_FALSE(Read(absl::StrCat((*one)[0], (*two)[1])).ok());
}

TEST_F(BackupTest, WhatComesLaterIsNotInIt) {
  const std::string backup = Backup();
  Transaction transaction;
  transaction.Put(PolicyRecord{"later", {}});
  ASSERT_TRUE(house_.store().Commit(transaction).ok());
  const auto contents = Read(backup);
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->rows.size() + 1, house_.backend().Save().entries.size());
}

}  // namespace
}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
// Whoever can write to the database, its rows or its file, can stop the agent and no more: whatever
// is changed, removed, added, swapped or put back from before, the store says so or holds exactly
// what it held.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/store/record_codec.h"
#include "agent/store/row_key.h"
#include "agent/store/sealed_store.h"
#include "agent/store/sqlite/sqlite_backend.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/fixed_kek_source.h"
#include "tests/fakes/memory_anchor.h"
#include "tests/fakes/memory_backend.h"
#include "tests/fakes/sample_records.h"
#include "tests/fakes/seeded_random.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::store {
namespace {

using Rows = std::map<std::string, std::string>;

// Key and encoded content of every record, as a starting agent finds them.
absl::StatusOr<Rows> Load(Backend& backend, Anchor* anchor) {
  fakes::FixedKekSource kek;
  fakes::SeededRandom random(7);
  const auto store = SealedStore::Open(backend, kek, random, "", anchor);
  if (!store.ok()) return store.status();
  const auto records = (*store)->LoadAll();
  if (!records.ok()) return records.status();
  Rows rows;
  for (const Record& record : *records) {
    rows[KeyOf(record)] = std::string(EncodeRecord(record).Reveal());
  }
  return rows;
}

class TamperingTest : public testing::Test {
 protected:
  TamperingTest() {
    fakes::FixedKekSource kek;
    fakes::SeededRandom random(7);
    auto store = SealedStore::Open(backend_, kek, random, "testag", &anchor_);
    EXPECT_TRUE(store.ok()) << store.status();
    Transaction transaction;
    for (Record& record : fakes::SampleRecords()) transaction.Put(std::move(record));
    EXPECT_TRUE((*store)->Commit(transaction).ok());
    before_ = Now();
    EXPECT_TRUE((*store)->Commit(transaction).ok());  // the same again, under new nonces
    good_ = Now();
    content_ = *Load(backend_, &anchor_);
  }
  Rows Now() {
    Rows rows;
    const auto entries = backend_.Scan("");
    for (const Entry& entry : *entries) rows[entry.key] = entry.value;
    return rows;
  }
  // What a start says of these rows.
  absl::Status StatusOf(const Rows& rows) {
    fakes::MemoryBackend backend;
    std::vector<Write> writes;
    for (const auto& [key, value] : rows) writes.push_back({key, value});
    EXPECT_TRUE(backend.Commit({}, writes).ok());
    fakes::MemoryAnchor anchor = anchor_;
    const auto found = Load(backend, &anchor);
    if (!found.ok()) return found.status();
    EXPECT_EQ(*found, content_) << "something else was loaded";
    return absl::OkStatus();
  }
  void ExpectFound(const Rows& rows, const std::string& how) {
    const absl::Status status = StatusOf(rows);
    EXPECT_FALSE(status.ok()) << how;
    EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsFailedPrecondition(status))
        << how << ": " << status;
    EXPECT_FALSE(status.message().empty()) << how;
  }

  fakes::MemoryBackend backend_;
  fakes::MemoryAnchor anchor_;
  Rows before_;
  Rows good_;
  Rows content_;
};

TEST_F(TamperingTest, NothingIsFoundWhereNothingWasDone) {
  EXPECT_TRUE(StatusOf(good_).ok());
  EXPECT_GT(good_.size(), 10u);
}

TEST_F(TamperingTest, EveryByteOfEveryRow) {
  for (const auto& [key, value] : good_) {
    for (size_t i = 0; i < value.size(); ++i) {
      Rows rows = good_;
      rows[key][i] = static_cast<char>(rows[key][i] ^ 1);
      ExpectFound(rows, absl::StrCat("byte ", i, " of ", key));
    }
    Rows rows = good_;
    rows[key] = value.substr(0, value.size() - 1);
    ExpectFound(rows, absl::StrCat(key, " cut short"));
    rows[key] = value + "x";
    ExpectFound(rows, absl::StrCat(key, " made longer"));
    rows[key].clear();
    ExpectFound(rows, absl::StrCat(key, " emptied"));
  }
}

TEST_F(TamperingTest, RowsThatAreGoneRenamedCopiedOrSwapped) {
  for (const auto& [key, value] : good_) {
    Rows rows = good_;
    rows.erase(key);
    ExpectFound(rows, absl::StrCat("without ", key));
    rows[absl::StrCat(key, "x")] = value;
    ExpectFound(rows, absl::StrCat(key, " renamed"));
    rows[key] = value;
    ExpectFound(rows, absl::StrCat(key, " twice"));
    for (const auto& [other, others] : good_) {
      if (other == key) continue;
      rows = good_;
      rows[key] = others;
      ExpectFound(rows, absl::StrCat(other, " in place of ", key));
      rows[other] = value;
      ExpectFound(rows, absl::StrCat(other, " and ", key, " swapped"));
    }
  }
}

TEST_F(TamperingTest, ASingleRowFromBefore) {
  for (const auto& [key, value] : before_) {
    if (good_[key] == value) continue;  // the header and the agent's name, which nobody wrote since
    Rows rows = good_;
    rows[key] = value;
    const absl::Status status = StatusOf(rows);
    EXPECT_TRUE(absl::IsDataLoss(status)) << key << ": " << status;
    EXPECT_EQ(base::ReasonOf(status), "STORE_ALTERED") << key;
    if (key != kManifestKey) {
      const std::string kind = key.substr(0, key.find('/'));
      EXPECT_TRUE(absl::StrContains(status.message(),
                                    absl::StrCat("of kind ", kind, ", a row or more replaced")))
          << status;
    }
  }
}

TEST_F(TamperingTest, EverythingFromBefore) {
  const absl::Status status = StatusOf(before_);
  EXPECT_EQ(base::ReasonOf(status), "ROLLBACK_DETECTED") << status;
}

TEST_F(TamperingTest, WhatIsLeftCanBeTakenForTheStoreAndThatHidesNothing) {
  fakes::MemoryBackend backend;
  std::vector<Write> writes;
  std::string removed;
  for (const auto& [key, value] : good_) {
    if (removed.empty() && absl::StartsWith(key, "version/")) {
      removed = key;
    } else {
      writes.push_back({key, value});
    }
  }
  ASSERT_FALSE(removed.empty());
  ASSERT_TRUE(backend.Commit({}, writes).ok());
  fakes::FixedKekSource kek;
  fakes::SeededRandom random(7);
  const auto open = [&] {
    auto store = SealedStore::Open(backend, kek, random, "", &anchor_);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  };
  auto store = open();
  EXPECT_EQ(base::ReasonOf(store->CheckIntegrity()), "STORE_ALTERED");
  ASSERT_TRUE(store->Accept().ok());
  const auto records = store->LoadAll();
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(records->size(), content_.size() - 1);
  EXPECT_TRUE(store->rolled_back());
  // Its rows agree again with the first commit, and yet a restart finds out.
  Transaction transaction;
  transaction.Put((*records)[0]);
  ASSERT_TRUE(store->Commit(transaction).ok());
  store = open();
  EXPECT_EQ(base::ReasonOf(store->CheckIntegrity()), "ROLLBACK_DETECTED");
  ASSERT_TRUE(store->Accept().ok());
  ASSERT_TRUE(store->LoadAll().ok());
  ASSERT_TRUE(store->DropAnchor().ok());
  store = open();
  EXPECT_TRUE(store->CheckIntegrity().ok()) << store->CheckIntegrity();
  // What was there before all that is older now.
  fakes::MemoryBackend old;
  writes.clear();
  for (const auto& [key, value] : good_) writes.push_back({key, value});
  ASSERT_TRUE(old.Commit({}, writes).ok());
  EXPECT_EQ(base::ReasonOf(Load(old, &anchor_).status()), "ROLLBACK_DETECTED");
}

// The file as SQLite has it: free bytes, indexes, its own header, the column that nobody seals.
TEST(TamperedFile, SampledBytesOfEveryPage) {
  fakes::TemporaryDirectory directory;
  const std::string path = directory.path() + "/store.db";
  fakes::MemoryAnchor anchor;
  {
    auto backend = SqliteBackend::Open(path);
    ASSERT_TRUE(backend.ok()) << backend.status();
    fakes::FixedKekSource kek;
    fakes::SeededRandom random(7);
    auto store = SealedStore::Open(**backend, kek, random, "testag", &anchor);
    ASSERT_TRUE(store.ok()) << store.status();
    Transaction transaction;
    for (Record& record : fakes::SampleRecords()) transaction.Put(std::move(record));
    ASSERT_TRUE((*store)->Commit(transaction).ok());
  }
  std::string good;
  {
    std::ifstream file(path, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(file), {});
  }
  ASSERT_GT(good.size(), 4u * 4096);
  const auto found = [&](const std::string& bytes) -> absl::StatusOr<Rows> {
    std::filesystem::remove(path + "-wal");
    std::filesystem::remove(path + "-shm");
    std::ofstream(path, std::ios::binary) << bytes;
    auto backend = SqliteBackend::Open(path);
    if (!backend.ok()) return backend.status();
    return Load(**backend, &anchor);
  };
  const auto content = found(good);
  ASSERT_TRUE(content.ok()) << content.status();
  size_t tried = 0, refused = 0;
  for (size_t i = 0; i < good.size(); i += i < 100 ? 3 : 31) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x11);
    const auto rows = found(bad);
    ++tried;
    if (rows.ok()) {
      EXPECT_EQ(*rows, *content) << "byte " << i;
    } else {
      ++refused;
      EXPECT_FALSE(rows.status().message().empty()) << "byte " << i;
    }
  }
  std::cout << tried << " bytes changed: " << refused << " refused, the others not used\n";
  EXPECT_GT(refused, tried / 10);
  EXPECT_TRUE(found(good).ok());
}

}  // namespace
}  // namespace keyturn::store

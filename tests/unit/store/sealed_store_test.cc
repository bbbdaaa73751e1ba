// SPDX-License-Identifier: Apache-2.0
// The sealed store against damage, doubt, a second writer and a plain map.
#include "agent/store/sealed_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/store/row_key.h"
#include "tests/fakes/sample_records.h"
#include "tests/fakes/test_store.h"

namespace keyturn::store {
namespace {

using fakes::CommitFault;
using testing::HasSubstr;

VersionRecord Version(uint64_t number, const std::string& secret = "s3cr3t") {
  VersionRecord record;
  record.credential = "a/b";
  record.number = number;
  record.value = base::CredentialValue::Of(base::Secret(secret));
  return record;
}

Transaction PutOf(Record record) {
  Transaction transaction;
  transaction.Put(std::move(record));
  return transaction;
}

class SealedStoreTest : public testing::Test {
 protected:
  SealedStore& store() { return test_.store(); }
  fakes::FaultyBackend& faults() { return test_.faults(); }

  // Keys and primary values, as a restarted agent finds them.
  std::map<std::string, std::string> Found() {
    std::map<std::string, std::string> found;
    const auto records = test_.Restart().LoadAll();
    EXPECT_TRUE(records.ok()) << records.status();
    if (!records.ok()) return found;
    for (const Record& record : *records) {
      const auto& version = std::get<VersionRecord>(record);
      found[KeyOf(record)] = std::string(version.value.Primary()->Reveal());
    }
    return found;
  }
  absl::Status LoadStatus() { return test_.Restart().LoadAll().status(); }
  void Overwrite(const std::string& key, const std::string& value) {
    ASSERT_TRUE(test_.backend().Commit({}, {{key, value}}).ok());
  }
  std::string Raw(const std::string& key) {
    const auto entry = test_.backend().Get(key);
    return entry.ok() && entry->has_value() ? (*entry)->value : "absent";
  }

  fakes::TestStore test_;
};

TEST_F(SealedStoreTest, EveryKindOfRecordComesBackAfterARestart) {
  Transaction transaction;
  std::vector<std::string> keys;
  for (Record& record : fakes::SampleRecords()) {
    keys.push_back(KeyOf(record));
    transaction.Put(std::move(record));
  }
  ASSERT_TRUE(store().Commit(transaction).ok());
  const auto records = test_.Restart().LoadAll();
  ASSERT_TRUE(records.ok()) << records.status();
  std::vector<std::string> found;
  for (const Record& record : *records) found.push_back(KeyOf(record));
  EXPECT_THAT(found, testing::UnorderedElementsAreArray(keys));
}

TEST_F(SealedStoreTest, TheBackendSeesNoPlaintext) {
  ASSERT_TRUE(store().Commit(PutOf(Version(1, "marked-secret"))).ok());
  const auto entries = test_.backend().Scan("");
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 4u) << "header, agent id, manifest and the row";
  for (const Entry& entry : *entries) {
    EXPECT_FALSE(absl::StrContains(entry.value, "marked")) << entry.key;
    EXPECT_FALSE(absl::StrContains(entry.value, "a/b")) << entry.key;
    EXPECT_FALSE(absl::StrContains(entry.value, "testag")) << entry.key;
  }
}

TEST_F(SealedStoreTest, ABrokenRowIsNamedAndNothingIsLoaded) {
  ASSERT_TRUE(store().Commit(PutOf(Version(1))).ok());
  ASSERT_TRUE(store().Commit(PutOf(Version(2))).ok());
  std::string changed = Raw(VersionKey("a/b", 2));
  changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
  for (const std::string& bad : {changed, std::string(), std::string("x")}) {
    Overwrite(VersionKey("a/b", 2), bad);
    const absl::Status status = LoadStatus();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(VersionKey("a/b", 2)));
    EXPECT_THAT(std::string(status.message()), HasSubstr("backup"));
  }
}

TEST_F(SealedStoreTest, SwappedAndCopiedRowsDoNotOpen) {
  ASSERT_TRUE(store().Commit(PutOf(Version(1))).ok());
  ASSERT_TRUE(store().Commit(PutOf(Version(2))).ok());
  const std::string one = Raw(VersionKey("a/b", 1)), two = Raw(VersionKey("a/b", 2));
  Overwrite(VersionKey("a/b", 1), two);
  Overwrite(VersionKey("a/b", 2), one);
  EXPECT_TRUE(absl::IsDataLoss(LoadStatus()));
  Overwrite(VersionKey("a/b", 1), one);
  Overwrite(VersionKey("a/b", 2), two);
  EXPECT_TRUE(LoadStatus().ok());
  Overwrite(VersionKey("a/b", 3), two);
  EXPECT_TRUE(absl::IsDataLoss(LoadStatus()));
}

TEST_F(SealedStoreTest, ARowOfUnknownKindIsNotPassedOver) {
  Overwrite("future/a", "x");
  EXPECT_THAT(std::string(LoadStatus().message()), HasSubstr("future/a"));
}

TEST_F(SealedStoreTest, AMissingHeaderIsNotTakenForANewStore) {
  ASSERT_TRUE(test_.backend().Commit({}, {{std::string(kHeaderKey), std::nullopt}}).ok());
  fakes::FixedKekSource kek;
  fakes::SeededRandom random(5);
  const absl::Status status = SealedStore::Open(test_.backend(), kek, random).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_F(SealedStoreTest, AnotherKeyfileIsRefused) {
  fakes::FixedKekSource wrong('w');
  fakes::SeededRandom random(5);
  const absl::Status status = SealedStore::Open(test_.backend(), wrong, random).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not belong to this store"));
}

TEST(SealedStoreOpenTest, TheAgentIdIsMadeOnceAndKept) {
  fakes::MemoryBackend backend;
  fakes::FixedKekSource kek;
  fakes::SeededRandom random(5);
  EXPECT_TRUE(*SealedStore::IsNew(backend));
  const auto first = SealedStore::Open(backend, kek, random);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(*SealedStore::IsNew(backend));
  EXPECT_EQ((*first)->agent_id().size(), 6u);
  const auto second = SealedStore::Open(backend, kek, random);
  EXPECT_EQ((*first)->agent_id(), (*second)->agent_id());
  EXPECT_EQ((*first)->keyed_hash().Of("c", "m"), (*second)->keyed_hash().Of("c", "m"));
  const auto renamed = SealedStore::Open(backend, kek, random, "other");
  EXPECT_TRUE(absl::IsFailedPrecondition(renamed.status())) << renamed.status();
}

TEST(SealedStoreOpenTest, AChosenNameIsCheckedAndUsed) {
  fakes::MemoryBackend backend;
  fakes::FixedKekSource kek;
  fakes::SeededRandom random(5);
  for (const char* bad : {"Upper", "with-dash", "seventeenlettersx"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(SealedStore::Open(backend, kek, random, bad).status()));
  }
  EXPECT_EQ((*SealedStore::Open(backend, kek, random, "web1"))->agent_id(), "web1");
}

TEST(SealedStoreOpenTest, AFirstStartThatFailsLeavesNothingHalfMade) {
  for (const auto& [fault, survives] :
       {std::pair(CommitFault::kDiskFull, false), std::pair(CommitFault::kBrokenDisk, false),
        std::pair(CommitFault::kUnknownBefore, false),
        std::pair(CommitFault::kUnknownAfter, true)}) {
    fakes::MemoryBackend memory;
    fakes::FaultyBackend faulty(memory);
    fakes::FixedKekSource kek;
    fakes::SeededRandom random(5);
    faulty.FailCommit(1, fault);
    EXPECT_EQ(SealedStore::Open(faulty, kek, random).ok(), survives);
    EXPECT_TRUE(SealedStore::Open(faulty, kek, random).ok());
  }
}

TEST_F(SealedStoreTest, RowsAreGuardedByWhatThisStoreKnows) {
  ASSERT_TRUE(store().Commit(PutOf(Version(1, "mine"))).ok());
  Overwrite(VersionKey("a/b", 1), Raw(VersionKey("a/b", 1)));  // a second writer
  EXPECT_TRUE(absl::IsAborted(store().Commit(PutOf(Version(1, "mine again")))));
  Transaction erase;
  erase.Delete(VersionKey("a/b", 1));
  EXPECT_TRUE(absl::IsAborted(store().Commit(erase)));
  EXPECT_EQ(Found().at(VersionKey("a/b", 1)), "mine");
  EXPECT_TRUE(store().Commit(PutOf(Version(1, "after loading"))).ok());
}

TEST_F(SealedStoreTest, DeletedRowsMayBeMadeAgain) {
  ASSERT_TRUE(store().Commit(PutOf(Version(1, "first"))).ok());
  Transaction erase;
  erase.Delete(VersionKey("a/b", 1));
  erase.Delete(VersionKey("a/b", 99));
  ASSERT_TRUE(store().Commit(erase).ok());
  ASSERT_TRUE(store().Commit(PutOf(Version(1, "second"))).ok());
  EXPECT_EQ(Found().at(VersionKey("a/b", 1)), "second");
}

TEST_F(SealedStoreTest, OneKeyTwiceInATransactionIsRefused) {
  Transaction twice = PutOf(Version(1));
  twice.Put(Version(1));
  EXPECT_TRUE(absl::IsInvalidArgument(store().Commit(twice)));
  Transaction both = PutOf(Version(1));
  both.Delete(VersionKey("a/b", 1));
  EXPECT_TRUE(absl::IsInvalidArgument(store().Commit(both)));
  Transaction header;
  header.Delete(std::string(kHeaderKey));
  EXPECT_TRUE(absl::IsInvalidArgument(store().Commit(header)));
}

TEST_F(SealedStoreTest, ALargeTransactionIsOneCommit) {
  Transaction transaction;
  for (uint64_t i = 1; i <= 1000; ++i) transaction.Put(Version(i));
  const uint64_t before = faults().commits();
  ASSERT_TRUE(store().Commit(transaction).ok());
  EXPECT_EQ(faults().commits(), before + 1);
  EXPECT_EQ(Found().size(), 1000u);
}

TEST_F(SealedStoreTest, AFullDiskChangesNothingAndPassesWhenThereIsRoom) {
  ASSERT_TRUE(store().Commit(PutOf(Version(1, "old"))).ok());
  faults().FailCommit(1, CommitFault::kDiskFull);
  EXPECT_TRUE(absl::IsResourceExhausted(store().Commit(PutOf(Version(1, "new")))));
  EXPECT_TRUE(store().Commit(PutOf(Version(1, "newer"))).ok());
  EXPECT_EQ(Found().at(VersionKey("a/b", 1)), "newer");
}

TEST_F(SealedStoreTest, AnUnknownOutcomeIsDecidedByReadingBack) {
  ASSERT_TRUE(store().Commit(PutOf(Version(1, "old"))).ok());
  faults().FailCommit(1, CommitFault::kUnknownBefore);
  EXPECT_TRUE(absl::IsUnavailable(store().Commit(PutOf(Version(1, "lost")))));
  EXPECT_EQ(Raw(VersionKey("a/b", 2)), "absent");
  faults().FailCommit(1, CommitFault::kUnknownAfter);
  EXPECT_TRUE(store().Commit(PutOf(Version(1, "kept"))).ok());
  EXPECT_TRUE(store().Commit(PutOf(Version(1, "next"))).ok()) << "the revision was learned";

  Transaction erase;
  erase.Delete(VersionKey("a/b", 1));
  faults().FailCommit(1, CommitFault::kUnknownBefore);
  EXPECT_TRUE(absl::IsUnavailable(store().Commit(erase)));
  faults().FailCommit(1, CommitFault::kUnknownAfter);
  EXPECT_TRUE(store().Commit(erase).ok());
  EXPECT_TRUE(Found().empty());
}

TEST_F(SealedStoreTest, WhenReadingBackFailsTooNothingMoreIsWrittenUntilALoad) {
  faults().FailCommit(1, CommitFault::kUnknownAfter);
  faults().FailReads(true);
  EXPECT_TRUE(absl::IsUnknown(store().Commit(PutOf(Version(1, "in doubt")))));
  faults().FailReads(false);
  const absl::Status refused = store().Commit(PutOf(Version(2)));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  ASSERT_TRUE(store().LoadAll().ok());
  EXPECT_TRUE(store().Commit(PutOf(Version(1, "known again"))).ok());
}

}  // namespace
}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
// The anchor as a file, and what a store finds out by it.
#include "agent/store/anchor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "absl/strings/match.h"
#include "agent/base/error.h"
#include "tests/fakes/temporary_directory.h"
#include "tests/fakes/test_store.h"

namespace keyturn::store {
namespace {

TEST(FileAnchor, HoldsWhatWasWrittenLast) {
  fakes::TemporaryDirectory directory;
  const std::string path = directory.path() + "/anchor";
  FileAnchor anchor(path);
  EXPECT_EQ(anchor.Read().value_or("?"), "") << "nothing yet";
  ASSERT_TRUE(anchor.Write("one\n").ok());
  ASSERT_TRUE(anchor.Write("two\n").ok());
  EXPECT_EQ(FileAnchor(path).Read().value_or("?"), "two\n");
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(FileAnchor, SaysWhichFileItCannotWrite) {
  FileAnchor anchor("/nonexistent/directory/anchor");
  const absl::Status status = anchor.Write("one\n");
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(absl::StrContains(status.message(), "/nonexistent/directory")) << status;
}

class AnchoredStoreTest : public testing::Test {
 protected:
  void Commit(const std::string& name) {
    Transaction transaction;
    transaction.Put(PolicyRecord{name, {}});
    ASSERT_TRUE(house_.store().Commit(transaction).ok());
  }
  bool RolledBackAfterRestart() {
    SealedStore& store = house_.Restart();
    const absl::Status found = store.CheckIntegrity();
    EXPECT_EQ(store.LoadAll().status(), found) << "nothing is loaded before somebody says so";
    EXPECT_EQ(store.rolled_back(), !found.ok());
    if (!found.ok()) {
      EXPECT_EQ(base::ReasonOf(found), "ROLLBACK_DETECTED");
      EXPECT_TRUE(store.Accept().ok());
      EXPECT_TRUE(store.LoadAll().ok());
      EXPECT_TRUE(store.rolled_back());
    }
    return store.rolled_back();
  }

  fakes::TestStore house_;
};

TEST_F(AnchoredStoreTest, EveryCommitIsNoted) {
  Commit("a");
  const auto copy = house_.backend().Save();
  Commit("b");
  house_.backend().PutBack(copy);
  EXPECT_TRUE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, WhatCameAfterTheAnchorMayBeLost) {
  Commit("a");
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  const auto copy = house_.backend().Save();
  house_.anchor().broken = true;  // its directory is gone, the disk full
  Commit("b");
  house_.backend().PutBack(copy);
  EXPECT_FALSE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, AnotherStoreOfTheSameAgeIsNoticed) {
  const auto copy = house_.backend().Save();
  const std::string anchor = house_.anchor().content;
  Commit("a");
  const auto fork = house_.backend().Save();
  house_.backend().PutBack(copy);
  house_.anchor().content = anchor;
  ASSERT_FALSE(RolledBackAfterRestart());
  Commit("b");
  house_.backend().PutBack(fork);
  EXPECT_TRUE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, WhatIsCommittedBeforeTheDecisionIsStoredHidesNothing) {
  Commit("a");
  const auto copy = house_.backend().Save();
  Commit("b");
  house_.backend().PutBack(copy);
  EXPECT_TRUE(RolledBackAfterRestart());
  for (const char* name : {"c", "d", "e"}) {
    Commit(name);
    EXPECT_TRUE(RolledBackAfterRestart());
  }
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  EXPECT_FALSE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, WhatCameBeforeItMayNotAndThatIsKnownUntilTheNextAnchor) {
  Commit("a");
  const auto copy = house_.backend().Save();
  Commit("b");
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  EXPECT_FALSE(RolledBackAfterRestart());
  house_.backend().PutBack(copy);
  EXPECT_TRUE(RolledBackAfterRestart());
  EXPECT_TRUE(RolledBackAfterRestart()) << "a restart is no decision";
  house_.anchor().broken = true;
  EXPECT_FALSE(house_.store().DropAnchor().ok());
  EXPECT_TRUE(house_.store().rolled_back());
  house_.anchor().broken = false;
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  EXPECT_FALSE(house_.store().rolled_back());
  EXPECT_FALSE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, ASecondCopyIsNoticedThoughItIsNewerThanTheFirst) {
  Commit("a");
  const auto first = house_.backend().Save();
  Commit("b");
  Commit("c");
  const auto second = house_.backend().Save();
  Commit("d");
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  house_.backend().PutBack(first);
  EXPECT_TRUE(RolledBackAfterRestart());
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  EXPECT_FALSE(RolledBackAfterRestart());
  const auto after = house_.backend().Save();
  house_.backend().PutBack(second);
  EXPECT_TRUE(RolledBackAfterRestart());
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  EXPECT_FALSE(RolledBackAfterRestart());
  house_.backend().PutBack(after);
  EXPECT_TRUE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, AnAnchorThatCannotBeReadProvesNothingGood) {
  house_.anchor().unreadable = true;
  EXPECT_TRUE(RolledBackAfterRestart());
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  house_.anchor().unreadable = false;
  EXPECT_FALSE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, DeletesAreNotTakenForARollback) {
  Commit("a");
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  Transaction transaction;
  transaction.Delete("policy/a");
  ASSERT_TRUE(house_.store().Commit(transaction).ok());
  EXPECT_FALSE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, AnotherStoresAnchorIsNotOurs) {
  fakes::TestStore other(/*seed=*/2);
  ASSERT_TRUE(other.store().DropAnchor().ok());
  house_.anchor().content = other.anchor().content;
  EXPECT_TRUE(RolledBackAfterRestart());
}

TEST_F(AnchoredStoreTest, NobodyCanMakeOneUpWithALowerNumber) {
  const auto copy = house_.backend().Save();
  Commit("a");
  ASSERT_TRUE(house_.store().DropAnchor().ok());
  house_.backend().PutBack(copy);
  std::string& content = house_.anchor().content;
  const size_t digits = content.find("epoch ") + 6;
  content.replace(digits, content.find('\n', digits) - digits, "1");
  EXPECT_TRUE(RolledBackAfterRestart());
}

}  // namespace
}  // namespace keyturn::store

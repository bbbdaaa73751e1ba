// SPDX-License-Identifier: Apache-2.0
// The contract of store::Backend as tests. A program includes this once, and instantiates
// BackendConformance with a function that makes its backend.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/store/backend.h"

namespace keyturn::store {

// What a suite needs of an implementation.
class BackendUnderTest {
 public:
  virtual ~BackendUnderTest() = default;
  virtual Backend& backend() = 0;
  // What a new process would see; does nothing for a backend without a disk.
  virtual void Reopen() = 0;
};

class BackendConformance
    : public testing::TestWithParam<std::function<std::unique_ptr<BackendUnderTest>()>> {
 protected:
  Backend& backend() { return subject_->backend(); }

  Revision Put(const std::string& key, const std::string& value) {
    const auto revision = backend().Commit({}, {{key, value}});
    EXPECT_TRUE(revision.ok()) << revision.status();
    return revision.ok() ? *revision : 0;
  }
  // `absent` for no row.
  std::string Value(const std::string& key) {
    const auto entry = backend().Get(key);
    EXPECT_TRUE(entry.ok()) << entry.status();
    return entry.ok() && entry->has_value() ? (*entry)->value : "absent";
  }
  Revision RevisionOf(const std::string& key) {
    const auto entry = backend().Get(key);
    EXPECT_TRUE(entry.ok()) << entry.status();
    return entry.ok() && entry->has_value() ? (*entry)->revision : 0;
  }
  std::vector<std::string> Keys(const std::string& prefix) {
    std::vector<std::string> keys;
    const auto entries = backend().Scan(prefix);
    EXPECT_TRUE(entries.ok()) << entries.status();
    if (entries.ok()) {
      for (const Entry& entry : *entries) keys.push_back(entry.key);
    }
    return keys;
  }

  std::unique_ptr<BackendUnderTest> subject_ = GetParam()();
};

TEST_P(BackendConformance, StartsEmpty) {
  EXPECT_EQ(Value("a"), "absent");
  EXPECT_TRUE(Keys("").empty());
}

TEST_P(BackendConformance, KeepsBytesOfEveryKind) {
  const std::string binary("\0\xff\n'\"\0", 6);
  Put("empty", "");
  Put("binary", binary);
  Put(binary, "binary key");
  Put("large", std::string(500'000, 'x'));
  subject_->Reopen();
  EXPECT_EQ(Value("empty"), "");
  EXPECT_EQ(Value("binary"), binary);
  EXPECT_EQ(Value(binary), "binary key");
  EXPECT_EQ(Value("large").size(), 500'000u);
}

TEST_P(BackendConformance, ScanGivesThePrefixInByteOrder) {
  for (const char* key : {"b/2", "b/10", "a/1", "b", "c/1", "b/\xff", "b/\xff\xff"}) Put(key, key);
  EXPECT_THAT(Keys("b/"), testing::ElementsAre("b/10", "b/2", "b/\xff", "b/\xff\xff"));
  EXPECT_THAT(Keys("b/\xff"), testing::ElementsAre("b/\xff", "b/\xff\xff"));
  EXPECT_EQ(Keys("").size(), 7u);
  EXPECT_TRUE(Keys("d").empty());
  const auto entries = backend().Scan("c/");
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(entries->front().value, "c/1");
  EXPECT_GT(entries->front().revision, 0u);
}

TEST_P(BackendConformance, RevisionsGrowOverTheWholeStoreAndAreNeverUsedAgain) {
  const Revision first = Put("a", "1");
  const Revision second = Put("b", "1");
  EXPECT_GT(first, 0u);
  EXPECT_GT(second, first);
  ASSERT_TRUE(backend().Commit({}, {{"b", std::nullopt}}).ok());
  subject_->Reopen();
  const Revision third = Put("b", "2");
  EXPECT_GT(third, second + 1) << "the delete was a commit too";
  EXPECT_EQ(RevisionOf("a"), first) << "untouched rows keep theirs";
  EXPECT_EQ(RevisionOf("b"), third);
}

TEST_P(BackendConformance, AllWritesOfACommitHaveItsRevision) {
  const auto revision = backend().Commit({}, {{"a", "1"}, {"b", "2"}});
  ASSERT_TRUE(revision.ok());
  EXPECT_EQ(RevisionOf("a"), *revision);
  EXPECT_EQ(RevisionOf("b"), *revision);
}

TEST_P(BackendConformance, AGuardThatHoldsLetsTheCommitThrough) {
  ASSERT_TRUE(backend().Commit({{"a", 0}}, {{"a", "1"}}).ok());
  const Revision revision = RevisionOf("a");
  EXPECT_TRUE(backend().Commit({{"a", revision}, {"other", 0}}, {{"a", "2"}}).ok());
  EXPECT_EQ(Value("a"), "2");
}

TEST_P(BackendConformance, AGuardThatDoesNotHoldLeavesEverythingAsItWas) {
  const Revision revision = Put("a", "1");
  const std::vector<std::vector<Guard>> broken = {
      {{"a", 0}}, {{"a", revision + 1}}, {{"b", revision}}, {{"a", revision}, {"b", 1}}};
  for (const std::vector<Guard>& guards : broken) {
    const auto result = backend().Commit(guards, {{"a", "2"}, {"b", "2"}, {"c", "2"}});
    EXPECT_TRUE(absl::IsAborted(result.status())) << result.status();
  }
  subject_->Reopen();
  EXPECT_EQ(Value("a"), "1");
  EXPECT_THAT(Keys(""), testing::ElementsAre("a"));
  EXPECT_EQ(RevisionOf("a"), revision);
}

TEST_P(BackendConformance, DeletingIsIdempotent) {
  Put("a", "1");
  EXPECT_TRUE(backend().Commit({}, {{"a", std::nullopt}, {"never", std::nullopt}}).ok());
  EXPECT_TRUE(backend().Commit({{"a", 0}}, {{"a", std::nullopt}}).ok());
  EXPECT_EQ(Value("a"), "absent");
}

TEST_P(BackendConformance, RefusesWhatTheContractForbids) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(backend().Commit({}, {{"a", "1"}, {"a", std::nullopt}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(backend().Commit({{"a", 0}, {"a", 1}}, {}).status()));
  const BatchLimits limits = backend().limits();
  std::vector<Write> many;
  for (size_t i = 0; i <= limits.operations_max; ++i) many.push_back({absl::StrCat(i), "x"});
  EXPECT_TRUE(absl::IsInvalidArgument(backend().Commit({}, many).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      backend().Commit({}, {{"big", std::string(limits.bytes_max, 'x')}}).status()));
  EXPECT_TRUE(Keys("").empty());
}

TEST_P(BackendConformance, TakesTheBatchThatEveryBackendMustTake) {
  const BatchLimits limits = backend().limits();
  ASSERT_GE(limits.operations_max, 128u);
  ASSERT_GE(limits.bytes_max, size_t{1} << 20);
  std::vector<Guard> guards;
  std::vector<Write> writes;
  for (int i = 0; i < 128; ++i) {
    guards.push_back({absl::StrCat("k", i), 0});
    writes.push_back({absl::StrCat("k", i), std::string(8000, 'x')});
  }
  EXPECT_TRUE(backend().Commit(guards, writes).ok());
  EXPECT_EQ(Keys("k").size(), 128u);
}

TEST_P(BackendConformance, OfManyThreadsThatGuardOneRevisionOneWins) {
  const Revision revision = Put("a", "0");
  std::atomic<int> won = 0, aborted = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const auto result = backend().Commit({{"a", revision}}, {{"a", absl::StrCat(i)}});
      if (result.ok()) ++won;
      if (absl::IsAborted(result.status())) ++aborted;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(aborted, 7);
}

}  // namespace keyturn::store

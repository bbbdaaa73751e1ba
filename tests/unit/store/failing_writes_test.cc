// SPDX-License-Identifier: Apache-2.0
// Every call with which SQLite changes a file fails once, in every way, in the course of a sequence
// of commits with checkpoints between them. After each commit, and when the process dies or the
// power fails right then, the store holds exactly what it should: what was answered with OK is
// there, what was refused is not, and of a commit in doubt all or nothing.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/base/file_io.h"
#include "agent/store/sqlite/sqlite_backend.h"
#include "tests/fakes/faulty_vfs.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::store {
namespace {

using fakes::FaultyVfs;
using fakes::WriteFault;
using Content = std::map<std::string, std::string>;

constexpr std::pair<WriteFault, const char*> kFaults[] = {
    {WriteFault::kDiskFull, "disk_full"}, {WriteFault::kIoError, "io_error"},
    {WriteFault::kShortWrite, "short"},   {WriteFault::kLostSync, "lost_sync"},
    {WriteFault::kKilled, "killed"},
};

// Small ones and large ones, overwriting and deleting, each different from all others.
std::vector<std::vector<Write>> Commits() {
  std::vector<std::vector<Write>> commits;
  for (int i = 0; i < 8; ++i) {
    std::vector<Write> writes;
    writes.push_back({absl::StrCat("row/", i % 3), absl::StrCat("value ", i)});
    if (i % 3 == 1) writes.push_back({"large", std::string(9000, static_cast<char>('a' + i))});
    if (i == 5) writes.push_back({"large/2", std::string(20'000, 'z')});
    if (i == 6) writes.push_back({"large", std::nullopt});
    commits.push_back(std::move(writes));
  }
  return commits;
}

Content After(Content content, const std::vector<Write>& writes) {
  for (const Write& write : writes) {
    if (write.value.has_value()) {
      content[write.key] = *write.value;
    } else {
      content.erase(write.key);
    }
  }
  return content;
}

Content ContentOf(Backend& backend) {
  const auto entries = backend.Scan("");
  if (!entries.ok()) {
    ADD_FAILURE() << entries.status();
    return {};
  }
  Content content;
  for (const Entry& entry : *entries) content[entry.key] = entry.value;
  return content;
}

class FailingWritesTest : public testing::Test {
 protected:
  // Thousands of small files come and go, which a disk makes slow and memory does not.
  static void SetUpTestSuite() {
    if (std::filesystem::exists("/dev/shm")) setenv("TMPDIR", "/dev/shm", 0);
  }

  // So that a short sequence has some checkpoints.
  FailingWritesTest() { vfs_.CheckpointEvery(12); }

  using Directory = std::unique_ptr<fakes::TemporaryDirectory>;

  static void WritePrivate(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    std::filesystem::permissions(path, std::filesystem::perms(0600));
  }

  static std::string PathIn(const Directory& directory) { return directory->File("store.db"); }

  // A process dies with its backend, so that one goes first.
  void StartIn(Directory directory) {
    backend_.reset();
    directory_ = std::move(directory);
    vfs_.Only(directory_->path());
    auto opened = SqliteBackend::Open(PathIn(directory_));
    ASSERT_TRUE(opened.ok()) << opened.status();
    backend_ = *std::move(opened);
  }
  // In a store with nothing in it, which is made once.
  void StartAnew() {
    auto directory = std::make_unique<fakes::TemporaryDirectory>();
    if (empty_.empty()) {
      ASSERT_TRUE(SqliteBackend::Open(PathIn(directory)).ok());
      empty_ = *base::ReadFile(PathIn(directory), 10 << 20);
    } else {
      WritePrivate(PathIn(directory), empty_);
    }
    StartIn(std::move(directory));
  }

  // The files as they are after this process has died, or after the power has failed.
  Directory Left(bool power_failed) {
    auto left = std::make_unique<fakes::TemporaryDirectory>();
    for (const char* suffix : {"", "-wal"}) {
      const std::string path = PathIn(directory_) + suffix;
      if (!std::filesystem::exists(path)) continue;
      std::string bytes = *base::ReadFile(path, 10 << 20);
      if (power_failed) {
        bytes = vfs_.AfterPowerLoss(path, std::move(bytes));
      } else {
        vfs_.Copied(path, PathIn(left) + suffix);
      }
      WritePrivate(PathIn(left) + suffix, bytes);
    }
    return left;
  }

  // What another process finds then.
  Content Found(bool power_failed) {
    const Directory left = Left(power_failed);
    auto opened = SqliteBackend::Open(PathIn(left));
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? ContentOf(**opened) : Content();
  }

  void ExpectEverywhere(const Content& expected, const std::string& when) {
    EXPECT_EQ(ContentOf(*backend_), expected) << when;
    EXPECT_EQ(Found(false), expected) << when << ", then killed";
    EXPECT_EQ(Found(true), expected) << when << ", then without power";
  }

  void ExpectOneOf(const Content& before, const Content& after, const std::string& when) {
    EXPECT_EQ(ContentOf(*backend_), before) << when;
    for (const bool power_failed : {false, true}) {
      const Content found = Found(power_failed);
      EXPECT_TRUE(found == before || found == after) << when;
    }
  }

  // This process ends, and what the next one finds is so for good.
  void StartAgain(const std::string& when) {
    Directory left = Left(false);
    vfs_.Heal();
    StartIn(std::move(left));
    ExpectEverywhere(ContentOf(*backend_), when + ", started again");
  }

  // `fault_at` is the call that fails; before it there is nothing to look at. After a commit in
  // doubt the process goes on, or is `restarted`.
  void Run(const std::string& when, uint64_t fault_at, bool restarted) {
    Content content;
    int tries = 1;
    for (const std::vector<Write>& writes : Commits()) {
      const Content after = After(content, writes);
      bool in_doubt = false;
      absl::StatusOr<Revision> result = backend_->Commit({}, writes);
      for (; !result.ok(); ++tries) {
        ASSERT_LT(tries, 8) << when << ": " << result.status();
        const std::string now = absl::StrCat(when, ": ", result.status().ToString());
        in_doubt = in_doubt || absl::IsUnavailable(result.status());
        if (in_doubt) {
          ++doubts_;
          ExpectOneOf(content, after, now);
        } else {
          ++refused_;
          ExpectEverywhere(content, now);
        }
        if (in_doubt && restarted) {
          StartAgain(now);
          in_doubt = false;
        }
        result = backend_->Commit({}, writes);
      }
      content = after;
      if (vfs_.calls() >= fault_at) ExpectEverywhere(content, when + ": OK");
    }
  }

  // One process lives until the torn write, another finds what it left.
  void RunUntilKilled(const std::string& when) {
    Content content;
    for (const std::vector<Write>& writes : Commits()) {
      const Content after = After(content, writes);
      bool killed = false;
      vfs_.OnKill([&] {
        killed = true;
        for (const bool power_failed : {false, true}) {
          const Content found = Found(power_failed);
          EXPECT_TRUE(found == content || found == after) << when;
        }
      });
      const absl::StatusOr<Revision> result = backend_->Commit({}, writes);
      if (killed) return;
      ASSERT_TRUE(result.ok()) << when;
      content = after;
    }
    ADD_FAILURE() << when << ": nobody was killed";
  }

  void FailAt(uint64_t nth, WriteFault fault, const std::string& when, bool restarted) {
    vfs_.Heal();
    StartAnew();
    vfs_.Fail(nth, fault);
    if (fault == WriteFault::kKilled) {
      RunUntilKilled(when);
    } else {
      Run(when, vfs_.calls() + nth, restarted);
    }
  }

  // Before backend_: connections end before the file system does.
  FaultyVfs vfs_;
  Directory directory_;
  std::string empty_;
  std::unique_ptr<SqliteBackend> backend_;
  int refused_ = 0;
  int doubts_ = 0;
};

TEST_F(FailingWritesTest, EveryCallOfASequenceOfCommits) {
  std::map<std::string, int> kinds;
  StartAnew();
  vfs_.OnCall([&](absl::string_view call) { ++kinds[std::string(call)]; });
  const uint64_t before = vfs_.calls();
  Run("undisturbed", 0, false);
  const uint64_t calls = vfs_.calls() - before;
  vfs_.OnCall(nullptr);
  for (const char* call : {"write:wal", "sync:wal", "write:db", "sync:db"}) {
    EXPECT_GE(kinds[call], 2) << call;
  }
  for (const auto& [fault, name] : kFaults) {
    for (uint64_t nth = 1; nth <= calls && !HasFailure(); ++nth) {
      const int doubts = doubts_;
      FailAt(nth, fault, absl::StrCat(name, " at call ", nth), false);
      if (doubts_ > doubts) FailAt(nth, fault, absl::StrCat(name, " at call ", nth), true);
    }
  }
  EXPECT_GT(doubts_, 0);
  EXPECT_GT(refused_, 0);
  std::cout << calls << " calls failed in " << std::size(kFaults) << " ways: " << refused_
            << " commits refused, " << doubts_ << " in doubt\n";
}

// The first start, which makes the database: it fails, or it is there and whole; the next succeeds.
TEST_F(FailingWritesTest, EveryCallOfTheFirstStart) {
  const uint64_t before = vfs_.calls();
  const fakes::TemporaryDirectory undisturbed;
  ASSERT_TRUE(SqliteBackend::Open(undisturbed.File("store.db")).ok());
  const uint64_t calls = vfs_.calls() - before;
  EXPECT_GE(calls, 10u);
  for (const auto& [fault, name] : kFaults) {
    for (uint64_t nth = 1; nth <= calls; ++nth) {
      backend_.reset();
      directory_ = std::make_unique<fakes::TemporaryDirectory>();
      vfs_.Only(directory_->path());
      vfs_.Fail(nth, fault);
      const absl::Status status = SqliteBackend::Open(PathIn(directory_)).status();
      vfs_.Heal();
      EXPECT_FALSE(absl::IsDataLoss(status)) << name << " at call " << nth << ": " << status;
      auto again = SqliteBackend::Open(PathIn(directory_));
      ASSERT_TRUE(again.ok()) << name << " at call " << nth << ": " << again.status();
      EXPECT_EQ(ContentOf(**again), Content());
      EXPECT_TRUE((*again)->Commit({}, {{"a", "b"}}).ok());
    }
  }
  std::cout << calls << " calls of the first start failed in " << std::size(kFaults) << " ways\n";
}

}  // namespace
}  // namespace keyturn::store

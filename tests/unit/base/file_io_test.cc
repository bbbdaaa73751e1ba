// SPDX-License-Identifier: Apache-2.0
// Small files: whole or not at all, and private where they must be.
#include "agent/base/file_io.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::base {
namespace {

class FileIoTest : public testing::Test {
 protected:
  static mode_t ModeOf(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0);
    return info.st_mode & 07777;
  }
  fakes::TemporaryDirectory directory_;
  const std::string file_ = directory_.File("file");
};

TEST_F(FileIoTest, WritesReplacesAndLeavesNothingBeside) {
  ASSERT_TRUE(WriteFileDurably(file_, "one", 0600).ok());
  ASSERT_TRUE(WriteFileDurably(file_, "two", 0600).ok());
  EXPECT_EQ(*ReadFile(file_, 100), "two");
  EXPECT_EQ(ModeOf(file_), 0600u);
  EXPECT_FALSE(std::filesystem::exists(file_ + ".new"));
}

TEST_F(FileIoTest, AWriteThatWasCutOffDoesNotStandInTheWay) {
  ASSERT_TRUE(WriteFileDurably(file_ + ".new", "half", 0600).ok());
  ASSERT_TRUE(WriteFileDurably(file_, "whole", 0600).ok());
  EXPECT_EQ(*ReadFile(file_, 100), "whole");
}

TEST_F(FileIoTest, AWriteThatFailsLeavesTheOldContent) {
  const std::string missing = directory_.File("no/such/file");
  EXPECT_TRUE(absl::IsNotFound(WriteFileDurably(missing, "x", 0600)));
  std::filesystem::create_directory(file_);
  EXPECT_FALSE(WriteFileDurably(file_, "x", 0600).ok());
  EXPECT_TRUE(std::filesystem::is_directory(file_));
}

TEST_F(FileIoTest, ReadsUpToItsLimit) {
  ASSERT_TRUE(WriteFileDurably(file_, "12345", 0600).ok());
  EXPECT_EQ(*ReadFile(file_, 5), "12345");
  EXPECT_TRUE(absl::IsResourceExhausted(ReadFile(file_, 4).status()));
  const absl::Status missing = ReadFile(directory_.File("none"), 5).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_TRUE(absl::StrContains(missing.message(), directory_.File("none"))) << missing;
}

TEST_F(FileIoTest, SaysWhichCommandMakesAFilePrivate) {
  ASSERT_TRUE(WriteFileDurably(file_, "x", 0600).ok());
  EXPECT_TRUE(CheckPrivate(file_, 077).ok());
  ASSERT_EQ(chmod(file_.c_str(), 0644), 0);
  const absl::Status open = CheckPrivate(file_, 077);
  EXPECT_TRUE(absl::IsFailedPrecondition(open));
  EXPECT_TRUE(absl::StrContains(open.message(), absl::StrCat("chmod 0600 ", file_))) << open;
  EXPECT_TRUE(absl::StrContains(open.message(), "mode 0644")) << open;
  EXPECT_TRUE(CheckPrivate(file_, 022).ok());
  EXPECT_TRUE(absl::IsNotFound(CheckPrivate(directory_.File("none"), 077)));
}

TEST_F(FileIoTest, MakesDirectoriesAndLeavesExistingOnes) {
  const std::string path = directory_.File("a/b/c");
  ASSERT_TRUE(MakeDirectory(path, 0700).ok());
  EXPECT_EQ(ModeOf(path), 0700u);
  ASSERT_EQ(chmod(path.c_str(), 0750), 0);
  EXPECT_TRUE(MakeDirectory(path, 0700).ok());
  EXPECT_EQ(ModeOf(path), 0750u);
  ASSERT_TRUE(WriteFileDurably(file_, "x", 0600).ok());
  EXPECT_FALSE(MakeDirectory(file_ + "/below", 0700).ok());
}

}  // namespace
}  // namespace keyturn::base

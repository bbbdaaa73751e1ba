// SPDX-License-Identifier: Apache-2.0
// Keyfiles: what is accepted, and what is said about the rest.
#include "agent/crypto/keyfile_kek_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "agent/base/file_io.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::crypto {
namespace {

using testing::HasSubstr;
using testing::Not;

class KeyfileTest : public testing::Test {
 protected:
  void Write(const std::string& content, mode_t mode = 0400) {
    ASSERT_TRUE(base::WriteFileDurably(path_, content, 0600).ok());
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  absl::StatusOr<base::Secret> Load() { return KeyfileKekSource(path_).Load(); }
  std::string Message() { return std::string(Load().status().message()); }

  fakes::TemporaryDirectory directory_;
  const std::string path_ = directory_.File("kek");
  const std::string raw_ = std::string("\0\x01 raw key with 32 bytes in all\n", 32);
};

TEST_F(KeyfileTest, TakesRawBytesAsTheyAre) {
  Write(raw_);
  const auto key = Load();
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->Reveal(), raw_);
}

TEST_F(KeyfileTest, TakesHexadecimalDigitsWithAndWithoutANewline) {
  std::string expected;
  std::string digits;
  for (int i = 0; i < 32; ++i) {
    digits += "aB";
    expected += '\xab';
  }
  for (const char* end : {"", "\n", "\r\n"}) {
    Write(digits + end, 0600);
    const auto key = Load();
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ(key->Reveal(), expected);
  }
}

TEST_F(KeyfileTest, AMissingFileSaysWhatToDo) {
  EXPECT_TRUE(absl::IsNotFound(Load().status()));
  EXPECT_THAT(Message(), HasSubstr(path_));
  EXPECT_THAT(Message(), HasSubstr("does not exist"));
}

TEST_F(KeyfileTest, AWrongSizeIsNamedWithoutShowingTheContent) {
  for (const std::string& content :
       {std::string(), std::string(31, 'm'), std::string(33, 'm'), std::string(63, 'a'),
        std::string(64, 'g'), std::string(65, 'a'), std::string(63, 'a') + "g\n"}) {
    Write(content, 0600);
    EXPECT_TRUE(absl::IsInvalidArgument(Load().status())) << content.size();
    EXPECT_THAT(Message(), HasSubstr("32 raw bytes or 64 hexadecimal digits"));
    EXPECT_THAT(Message(), Not(HasSubstr("mmm")));
    EXPECT_THAT(Message(), Not(HasSubstr("aaa")));
  }
}

TEST_F(KeyfileTest, AFileOpenToOthersIsRefusedWithTheCommandThatMendsIt) {
  for (const mode_t mode : {0404u, 0440u, 0640u, 0604u, 0666u}) {
    Write(raw_, mode);
    EXPECT_TRUE(absl::IsFailedPrecondition(Load().status())) << mode;
    EXPECT_THAT(Message(), HasSubstr("chmod"));
  }
}

TEST_F(KeyfileTest, CreateMakesAPrivateFileThatLoads) {
  const std::string path = directory_.File("new/dir/kek");
  ASSERT_TRUE(CreateKeyfile(path, base::SystemRandom()).ok());
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0400u);
  ASSERT_EQ(stat(directory_.File("new/dir").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  const auto key = KeyfileKekSource(path).Load();
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->size(), 32u);
  EXPECT_NE(key->Reveal(), std::string(32, '\0'));
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.File("new/dir"))) {
    files += entry.path().filename() == "kek" ? 1 : 100;
  }
  EXPECT_EQ(files, 1u) << "no draft is left behind";
}

TEST_F(KeyfileTest, CreateNeverReplacesAFile) {
  Write("precious", 0600);
  const absl::Status status = CreateKeyfile(path_, base::SystemRandom());
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_EQ(*base::ReadFile(path_, 100), "precious");
}

}  // namespace
}  // namespace keyturn::crypto

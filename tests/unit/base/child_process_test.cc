// SPDX-License-Identifier: Apache-2.0
// Programs that we start: only the pinned one, from a copy that nobody can change, with a clean
// slate, and never longer than we want.
#include "agent/base/child_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "agent/base/program_image.h"
#include "agent/base/sha256.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::base {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Sha256Of(const std::string& content) {
  Sha256 digest;
  digest.Update(content);
  return digest.HexDigest();
}

class ChildProcessTest : public testing::Test {
 protected:
  // A script is a program too.
  std::string Script(const std::string& text) {
    const std::string path = directory_.File("script");
    content_ = "#!/bin/sh\n" + text;
    std::ofstream(path) << content_;
    return path;
  }
  absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const std::string& path,
                                                      ChildProcess::Options options = {}) {
    auto image = ProgramImage::Load(path, Sha256Of(content_));
    if (!image.ok()) return image.status();
    if (options.argv.empty()) options.argv = {path};
    if (options.directory.empty()) options.directory = directory_.path();
    options.environment = {"PATH=/usr/bin:/bin"};
    return ChildProcess::Start(
        *image, std::move(options), [this](absl::string_view line) { lines_.emplace_back(line); },
        [this](const std::string& how) {
          how_ = how;
          ended_.Notify();
        });
  }

  fakes::TemporaryDirectory directory_;
  std::string content_;
  std::vector<std::string> lines_;  // read after ended_
  std::string how_;
  absl::Notification ended_;
};

TEST(Sha256, IsTheStandardOne) {
  EXPECT_EQ(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(ChildProcessTest, LinesComeWholeAndTheEndSaysHow) {
  const auto child = Start(Script("echo one; echo two >&2; printf 'thr'; printf 'ee'; exit 7"));
  ASSERT_TRUE(child.ok()) << child.status();
  ended_.WaitForNotification();
  EXPECT_THAT(lines_, ElementsAre("one", "two", "three"));
  EXPECT_EQ(how_, "exit_7");
}

TEST_F(ChildProcessTest, LongLinesAreCut) {
  ChildProcess::Options options;
  options.line_length_max = 5;
  const auto child = Start(Script("echo 1234567890; echo 12345"), options);
  ASSERT_TRUE(child.ok());
  ended_.WaitForNotification();
  EXPECT_THAT(lines_, ElementsAre("12345...", "12345"));
}

TEST_F(ChildProcessTest, DescriptorsAndSignalsAreNotInherited) {
  constexpr int kLeaked = 77;
  ASSERT_EQ(dup2(0, kLeaked), kLeaked);  // without close-on-exec
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto child =
      Start(Script("for fd in 4 5 6 7 8 9 77; do\n"
                   "  if [ -e /proc/self/fd/$fd ]; then echo \"has $fd\"; fi\n"
                   "done\n"
                   "exec grep -E 'SigBlk|SigIgn' /proc/self/status\n"));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(kLeaked);
  ASSERT_TRUE(child.ok());
  ended_.WaitForNotification();
  EXPECT_THAT(lines_, ElementsAre("SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"));
}

TEST_F(ChildProcessTest, DestructionEndsItAndWhatItStarted) {
  auto child = Start(Script("read forever < /dev/zero & echo $!; wait"));
  ASSERT_TRUE(child.ok());
  const pid_t pid = (*child)->pid();
  EXPECT_EQ(kill(pid, 0), 0);
  child->reset();
  EXPECT_EQ(how_, "signal_9");
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST_F(ChildProcessTest, WhatCannotBeStartedSaysWhichStepFailed) {
  ChildProcess::Options options;
  options.directory = directory_.File("nowhere");
  const auto child = Start(Script("exit 0"), options);
  EXPECT_TRUE(absl::IsNotFound(child.status())) << child.status();
  EXPECT_THAT(std::string(child.status().message()), HasSubstr("chdir"));
  content_ = "no program at all";
  std::ofstream(directory_.File("text")) << content_;
  const auto text = Start(directory_.File("text"));
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("execveat"));
}

TEST_F(ChildProcessTest, OnlyThePinnedBytesAreLoaded) {
  const std::string path = Script("exit 0");
  const auto wrong = ProgramImage::Load(path, Sha256Of("something else"));
  EXPECT_TRUE(absl::IsFailedPrecondition(wrong.status()));
  EXPECT_THAT(std::string(wrong.status().message()), HasSubstr(Sha256Of(content_)));
  EXPECT_TRUE(absl::IsNotFound(ProgramImage::Load(path + "x", "").status()));
  EXPECT_FALSE(ProgramImage::Load(directory_.path(), "").ok());
}

TEST_F(ChildProcessTest, WhatRunsIsTheCopyThatWasChecked) {
  const std::string path = Script("echo checked");
  const auto image = ProgramImage::Load(path, Sha256Of(content_));
  ASSERT_TRUE(image.ok());
  std::ofstream(path) << "#!/bin/sh\necho swapped\n";
  EXPECT_LT(pwrite(image->fd(), "x", 1, 0), 0) << "the copy is sealed";
  ChildProcess::Options options;
  options.argv = {path};
  options.directory = directory_.path();
  const auto child = ChildProcess::Start(
      *image, options, [this](absl::string_view line) { lines_.emplace_back(line); },
      [this](const std::string&) { ended_.Notify(); });
  ASSERT_TRUE(child.ok()) << child.status();
  ended_.WaitForNotification();
  EXPECT_THAT(lines_, ElementsAre("checked"));
}

}  // namespace
}  // namespace keyturn::base

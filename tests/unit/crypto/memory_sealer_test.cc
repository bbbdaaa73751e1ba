// SPDX-License-Identifier: Apache-2.0
// Values sealed in memory come back as they were, and do not show.
#include "agent/crypto/memory_sealer.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "agent/crypto/locked_key.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::crypto {
namespace {

TEST(MemorySealerTest, OpensWhatItSealedIntoTheBufferGiven) {
  const MemorySealer sealer;
  std::string out = "a longer text that was here before, long enough for the heap";
  for (const std::string& text : {std::string("secret"), std::string(), std::string(5000, 'x')}) {
    const std::string sealed = sealer.Seal(text);
    EXPECT_EQ(MemorySealer::OpenedSize(sealed), text.size());
    sealer.Open(sealed, out);
    EXPECT_EQ(out, text);
  }
}

TEST(MemorySealerTest, SealedBytesAreNewEachTimeAndHideTheText) {
  const MemorySealer sealer;
  const std::string a = sealer.Seal("marked secret");
  EXPECT_NE(a, sealer.Seal("marked secret"));
  EXPECT_FALSE(absl::StrContains(a, "marked"));
}

TEST(MemorySealerTest, ThreadsShareOne) {
  const MemorySealer sealer;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&sealer, i] {
      const std::string text(100, static_cast<char>('a' + i));
      std::string out;
      for (int round = 0; round < 500; ++round) {
        sealer.Open(sealer.Seal(text), out);
        ASSERT_EQ(out, text);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(MemorySealerDeathTest, BytesOfAnotherSealerEndTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const MemorySealer one, other;
  const std::string sealed = one.Seal("secret");
  std::string out;
  EXPECT_DEATH(other.Open(sealed, out), "not sealed by this process");
  EXPECT_DEATH(one.Open("short", out), "not sealed by this process");
}

TEST(LockedKeyDeathTest, AKeyCannotBeWrittenTo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const LockedKey key(std::string(32, 'k'));
  EXPECT_EQ(key.bytes(), std::string(32, 'k'));
  EXPECT_DEATH(*const_cast<volatile unsigned char*>(key.data()) = 0, "");
}

}  // namespace
}  // namespace keyturn::crypto

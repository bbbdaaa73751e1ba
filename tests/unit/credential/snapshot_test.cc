// SPDX-License-Identifier: Apache-2.0
// Readers and writers of the snapshot at the same time.
#include "agent/credential/snapshot.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/crypto_ready.h"

namespace keyturn::credential {
namespace {

lifecycle::PublishedVersion Version(const std::string& name, uint64_t number) {
  lifecycle::PublishedVersion version;
  version.name = name;
  version.kind = v1::API_KEY;
  version.version = number;
  // A value that shows when it is torn: one letter, many times.
  version.value = base::CredentialValue::Of(
      base::Secret(std::string(200, static_cast<char>('a' + number % 26))));
  return version;
}

TEST(Snapshot, GivesWhatWasLastPutAndNothingAfterRemove) {
  Snapshot snapshot;
  EXPECT_FALSE(snapshot.Read("a", [](const SnapshotEntry&) {}));
  snapshot.Put(Version("a", 1));
  snapshot.Put(Version("a", 2));
  v1::Credential out;
  EXPECT_TRUE(snapshot.Read("a", [&](const SnapshotEntry& entry) { snapshot.Open(entry, out); }));
  EXPECT_EQ(out.version(), 2u);
  EXPECT_EQ(out.fields(0).value(), std::string(200, 'c'));
  snapshot.Remove("a");
  EXPECT_FALSE(snapshot.Read("a", [](const SnapshotEntry&) {}));
}

TEST(Snapshot, ValuesAreNotHeldInTheClear) {
  Snapshot snapshot;
  snapshot.Put(Version("a", 1));
  snapshot.Read("a", [](const SnapshotEntry& entry) {
    EXPECT_EQ(entry.sealed_reply.find("bbbb"), std::string::npos);
  });
}

TEST(Snapshot, TwoSnapshotsInOneThreadDoNotMix) {
  Snapshot one;
  one.Put(Version("a", 1));
  EXPECT_TRUE(one.Read("a", [](const SnapshotEntry&) {}));
  Snapshot two;
  EXPECT_FALSE(two.Read("a", [](const SnapshotEntry&) {}));
  EXPECT_TRUE(one.Read("a", [](const SnapshotEntry&) {}));
}

TEST(Snapshot, ConcurrentReadsSeeWholeValuesThatNeverGoBack) {
  Snapshot snapshot;
  const std::vector<std::string> names = {"a", "b/c", "team/long/name"};
  for (const std::string& name : names) snapshot.Put(Version(name, 1));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      std::vector<uint64_t> last(names.size());
      v1::Credential out;
      while (!stop) {
        for (size_t n = 0; n < names.size(); ++n) {
          const bool found = snapshot.Read(
              names[n], [&](const SnapshotEntry& entry) { snapshot.Open(entry, out); });
          const char letter = static_cast<char>('a' + out.version() % 26);
          if (!found || out.name() != names[n] || out.version() < last[n] ||
              out.fields(0).value() != std::string(200, letter)) {
            ++wrong;
          }
          last[n] = out.version();
        }
      }
    });
  }
  for (uint64_t number = 2; number < 3000; ++number) {
    snapshot.Put(Version(names[number % names.size()], number));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace keyturn::credential

// SPDX-License-Identifier: Apache-2.0
// What a manifest finds: each change of the rows it lists, and of its own bytes.
#include "agent/store/manifest.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::store {
namespace {

class ManifestTest : public testing::Test {
 protected:
  ManifestTest() {
    for (const auto& [key, value] : rows_) manifest_.Set(key, value);
  }
  std::string Stored(uint64_t epoch = 7) {
    ManifestRow row = manifest_.At(epoch);
    return manifest_.Encode(row);
  }
  // What is found when these are the rows and that is the manifest.
  std::string Found(const std::map<std::string, std::string>& rows, const std::string& stored) {
    Manifest here(hash_);
    for (const auto& [key, value] : rows) here.Set(key, value);
    const auto row = here.Decode(stored);
    EXPECT_TRUE(row.ok()) << row.status();
    return row.ok() ? here.Difference(*row) : "";
  }

  const crypto::KeyedHash hash_{crypto::LockedKey(std::string(32, 'm'))};
  const std::map<std::string, std::string> rows_ = {
      {"version/a/1", "one"}, {"version/a/2", "two"}, {"credential/a", "a"}, {"store/header", "h"}};
  Manifest manifest_{hash_};
};

TEST_F(ManifestTest, AgreesWithItsOwnRows) {
  const auto row = manifest_.Decode(Stored());
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->epoch, 7u);
  EXPECT_EQ(row->kinds.size(), 3u);
  EXPECT_EQ(row->kinds.at("version").rows, 2u);
  EXPECT_EQ(Found(rows_, Stored()), "");
}

TEST_F(ManifestTest, SaysOfWhichKindSomethingIsMissingTooManyOrOld) {
  auto rows = rows_;
  rows.erase("version/a/1");
  EXPECT_EQ(Found(rows, Stored()), "of kind version, 1 row of 2 missing");
  rows = rows_;
  rows.erase("credential/a");
  EXPECT_EQ(Found(rows, Stored()), "of kind credential, 1 row of 1 missing");
  rows["version/a/3"] = "three";
  rows["tag/a/t"] = "t";
  rows["tag/a/u"] = "u";
  EXPECT_EQ(Found(rows, Stored()),
            "of kind credential, 1 row of 1 missing; of kind version, 1 row too many; "
            "of kind tag, 2 rows too many");
  rows = rows_;
  rows["store/header"] = "older";
  EXPECT_EQ(Found(rows, Stored()), "of kind store, a row or more replaced by an older one");
  rows = rows_;
  std::swap(rows["version/a/1"], rows["version/a/2"]);
  EXPECT_EQ(Found(rows, Stored()), "of kind version, a row or more replaced by an older one");
}

TEST_F(ManifestTest, EveryByteOfItCounts) {
  const std::string good = Stored();
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int bit : {1, 128}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ bit);
      EXPECT_TRUE(absl::IsDataLoss(manifest_.Decode(bad).status())) << i;
    }
    EXPECT_TRUE(absl::IsDataLoss(manifest_.Decode(good.substr(0, i)).status())) << i;
  }
  EXPECT_TRUE(absl::IsDataLoss(manifest_.Decode(good + "x").status()));
  const crypto::KeyedHash other{crypto::LockedKey(std::string(32, 'o'))};
  EXPECT_TRUE(absl::IsDataLoss(Manifest(other).Decode(good).status()));
}

TEST_F(ManifestTest, ALaterFormatIsNotTakenForDamage) {
  std::string later = Stored();
  later[0] = 2;
  later.resize(later.size() - 32);
  later += hash_.Of("manifest", later, 32);
  EXPECT_TRUE(absl::IsFailedPrecondition(manifest_.Decode(later).status()));
}

TEST_F(ManifestTest, WhatWasNotCommittedIsTakenBack) {
  const std::string before = Stored();
  std::vector<Manifest::Change> changes;
  changes.push_back(manifest_.Set("version/a/1", std::nullopt));
  changes.push_back(manifest_.Set("version/a/3", "three"));
  changes.push_back(manifest_.Set("version/a/3", "another"));
  changes.push_back(manifest_.Set("rotation/a", "r"));
  EXPECT_NE(Stored(), before);
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    manifest_.Revert(*change);
  }
  EXPECT_EQ(Stored(), before);
}

}  // namespace
}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
// A store as the first keyturnd wrote it must open for ever: header, sealed rows, encoded records
// and keyed hashes of store_v1.json against docs/formats/store.md.
//   vectors_store FILE           checks
//   vectors_store --write FILE   makes the file anew; only for a format that was never released
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "agent/base/check.h"
#include "agent/crypto/keyring.h"
#include "agent/store/backup.h"
#include "agent/store/record_codec.h"
#include "agent/store/sealed_store.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/fixed_kek_source.h"
#include "tests/fakes/memory_backend.h"
#include "tests/fakes/sample_records.h"
#include "tests/fakes/seeded_random.h"

namespace keyturn::store {
namespace {

std::string vectors_path;

std::string Hex(absl::string_view bytes) { return absl::BytesToHexString(bytes); }
std::string Bytes(const nlohmann::json& hex) {
  return absl::HexStringToBytes(hex.get<std::string>());
}

// The KEK of the vectors is 32 times `k`. Seeded, so the same program writes the same bytes.
nlohmann::json MakeVectors() {
  fakes::MemoryBackend backend;
  fakes::FixedKekSource kek('k');
  fakes::SeededRandom random(2026);
  auto store = SealedStore::Open(backend, kek, random, "testag");
  KEYTURN_CHECK(store.ok(), "a new store opens");
  nlohmann::json vectors;
  vectors["about"] = "docs/formats/store.md; checked by store_vectors_test.cc; never edited";
  vectors["kek"] = Hex(std::string(32, 'k'));
  vectors["agent_id"] = (*store)->agent_id();
  vectors["keyed_hash"] = {
      {"context", "refresh-token"},
      {"message", "refresh-s3cr3t"},
      {"hash", Hex((*store)->keyed_hash().Of("refresh-token", "refresh-s3cr3t"))}};
  Transaction transaction;
  for (Record& record : fakes::SampleRecords()) {
    vectors["records"][KeyOf(record)] = Hex(EncodeRecord(record).Reveal());
    transaction.Put(std::move(record));
  }
  KEYTURN_CHECK((*store)->Commit(transaction).ok(), "samples are stored");
  const auto backup = (*store)->Backup();
  vectors["backup"] = Hex(absl::StrJoin(*backup, ""));
  const auto entries = backend.Scan("");
  for (const Entry& entry : *entries) vectors["rows"][entry.key] = Hex(entry.value);
  return vectors;
}

class StoreVectors : public testing::Test {
 protected:
  StoreVectors() {
    std::ifstream file(vectors_path);
    vectors_ = nlohmann::json::parse(file, nullptr, false);
    KEYTURN_CHECK(vectors_.is_object(), "the vectors can be read");
  }

  nlohmann::json vectors_;
};

TEST_F(StoreVectors, TheStoreOpensAndHoldsItsRecords) {
  fakes::MemoryBackend backend;
  for (const auto& [key, value] : vectors_["rows"].items()) {
    ASSERT_TRUE(backend.Commit({}, {{key, Bytes(value)}}).ok());
  }
  ASSERT_EQ(Bytes(vectors_["kek"]), std::string(32, 'k'));
  fakes::FixedKekSource kek('k');
  const auto store = SealedStore::Open(backend, kek, base::SystemRandom());
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->agent_id(), vectors_["agent_id"].get<std::string>());
  const auto records = (*store)->LoadAll();
  ASSERT_TRUE(records.ok()) << records.status();
  EXPECT_EQ(records->size(), vectors_["records"].size());
  for (const Record& record : *records) {
    EXPECT_EQ(Hex(EncodeRecord(record).Reveal()),
              vectors_["records"][KeyOf(record)].get<std::string>())
        << KeyOf(record);
  }
  const auto& hash = vectors_["keyed_hash"];
  EXPECT_EQ(Hex((*store)->keyed_hash().Of(hash["context"].get<std::string>(),
                                          hash["message"].get<std::string>())),
            hash["hash"].get<std::string>());
}

TEST_F(StoreVectors, EveryFieldOfTheSamplesIsEncodedAsThen) {
  for (const Record& record : fakes::SampleRecords()) {
    const std::string key = KeyOf(record);
    ASSERT_TRUE(vectors_["records"].contains(key)) << key;
    EXPECT_EQ(Hex(EncodeRecord(record).Reveal()), vectors_["records"][key].get<std::string>())
        << key;
  }
}

TEST_F(StoreVectors, TheBackupCanBeRestored) {
  fakes::FixedKekSource kek('k');
  const auto contents = ReadBackup(Bytes(vectors_["backup"]), kek, base::SystemRandom());
  ASSERT_TRUE(contents.ok()) << contents.status();
  EXPECT_EQ(contents->agent_id, vectors_["agent_id"].get<std::string>());
  EXPECT_EQ(contents->rows.size(), vectors_["rows"].size());
  for (const Write& row : contents->rows) {
    EXPECT_EQ(Hex(*row.value), vectors_["rows"][row.key].get<std::string>()) << row.key;
  }
}

TEST_F(StoreVectors, ThisProgramStillWritesTheSameBytes) {
  nlohmann::json written = MakeVectors();
  // libsodium draws its nonce, so no two are the same.
  written["backup"] = vectors_["backup"];
  EXPECT_EQ(written, vectors_);
}

}  // namespace
}  // namespace keyturn::store

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc == 3 && std::string(argv[1]) == "--write") {
    std::ofstream(argv[2]) << keyturn::store::MakeVectors().dump(1) << "\n";
    return 0;
  }
  if (argc != 2) {
    std::cerr << "usage: vectors_store [--write] FILE\n";
    return 2;
  }
  keyturn::store::vectors_path = argv[1];
  return RUN_ALL_TESTS();
}

// SPDX-License-Identifier: Apache-2.0
// Manifest: what rows the store holds, byte by byte, as one row that is written with every commit
// (docs/formats/store.md). A row that opens is genuine; only the manifest says that it is the
// latest of its key, and that none is missing. In memory only. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/crypto/keyed_hash.h"
#include "agent/store/hash_trie.h"

namespace keyturn::store {

// What a manifest row says.
struct ManifestRow {
  struct Kind {
    uint64_t rows = 0;
    HashTrie::Digest root;
    bool operator==(const Kind& other) const { return rows == other.rows && root == other.root; }
  };
  // Grows with every commit.
  uint64_t epoch = 0;
  std::map<std::string, Kind> kinds;
  // Of all the above; the last 32 bytes of the row.
  std::string code;
};

class Manifest {
 public:
  // What one row's change takes to be undone.
  struct Change {
    std::string kind;
    HashTrie::Digest path;
    std::optional<HashTrie::Digest> before;
  };

  // `hash` is keyed for manifests alone and must outlive this.
  explicit Manifest(const crypto::KeyedHash& hash) : hash_(hash) {}

  void Clear() { kinds_.clear(); }
  // nullopt: the row is gone.
  Change Set(absl::string_view key, const std::optional<std::string>& value);
  void Revert(const Change& change);

  // What it says now; without its code, which Encode makes.
  ManifestRow At(uint64_t epoch);
  // The row as it is stored.
  std::string Encode(ManifestRow& row) const;
  // DATA_LOSS unless this key made these bytes.
  absl::StatusOr<ManifestRow> Decode(absl::string_view bytes) const;

  // What `row` says and is not so, as `1 row of kind version is missing; ...`; empty when it
  // agrees.
  std::string Difference(const ManifestRow& row);

 private:
  HashTrie& TrieOf(const std::string& kind);

  const crypto::KeyedHash& hash_;
  std::map<std::string, HashTrie> kinds_;
};

}  // namespace keyturn::store

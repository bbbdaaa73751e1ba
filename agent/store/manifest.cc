// SPDX-License-Identifier: Apache-2.0
#include "agent/store/manifest.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/crypto/byte_layout.h"

namespace keyturn::store {
namespace {

constexpr char kVersion = 1;
constexpr size_t kCodeSize = 32;

std::string Rows(uint64_t count) { return absl::StrCat(count, count == 1 ? " row" : " rows"); }

}  // namespace

HashTrie& Manifest::TrieOf(const std::string& kind) {
  return kinds_.try_emplace(kind, hash_).first->second;
}

Manifest::Change Manifest::Set(absl::string_view key, const std::optional<std::string>& value) {
  Change change;
  change.kind = std::string(key.substr(0, key.find('/')));
  change.path = HashTrie::Hashed(hash_, "manifest-key", key);
  std::optional<HashTrie::Digest> content;
  if (value) content = HashTrie::Hashed(hash_, "manifest-row", crypto::Framed({key, *value}));
  change.before = TrieOf(change.kind).Set(change.path, content);
  return change;
}

void Manifest::Revert(const Change& change) { TrieOf(change.kind).Set(change.path, change.before); }

ManifestRow Manifest::At(uint64_t epoch) {
  ManifestRow row;
  row.epoch = epoch;
  for (auto& [kind, trie] : kinds_) {
    if (trie.size() > 0) row.kinds[kind] = {trie.size(), trie.Root()};
  }
  return row;
}

std::string Manifest::Encode(ManifestRow& row) const {
  std::string bytes(1, kVersion);
  crypto::AppendUint64(bytes, row.epoch);
  crypto::AppendUint16(bytes, static_cast<uint16_t>(row.kinds.size()));
  for (const auto& [name, kind] : row.kinds) {
    crypto::AppendFramed(bytes, name);
    crypto::AppendUint64(bytes, kind.rows);
    bytes.append(reinterpret_cast<const char*>(kind.root.data()), kind.root.size());
  }
  row.code = hash_.Of("manifest", bytes, kCodeSize);
  return bytes + row.code;
}

absl::StatusOr<ManifestRow> Manifest::Decode(absl::string_view bytes) const {
  ManifestRow row;
  const absl::Status broken = absl::DataLossError("has been changed: its code is wrong");
  if (bytes.size() < kCodeSize) return broken;
  const absl::string_view covered = bytes.substr(0, bytes.size() - kCodeSize);
  row.code = std::string(bytes.substr(covered.size()));
  if (hash_.Of("manifest", covered, kCodeSize) != row.code) return broken;
  // Ours, so it is whole.
  crypto::LayoutReader reader(covered);
  uint8_t version = 0;
  uint16_t kinds = 0;
  reader.Uint8(version);
  if (version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("has format ", version, ", which a later keyturnd wrote"));
  }
  reader.Uint64(row.epoch);
  reader.Uint16(kinds);
  for (uint16_t i = 0; i < kinds; ++i) {
    absl::string_view name, root;
    ManifestRow::Kind kind;
    if (!reader.FramedBytes(name) || !reader.Uint64(kind.rows) ||
        !reader.Bytes(kind.root.size(), root)) {
      return broken;
    }
    std::copy(root.begin(), root.end(), kind.root.begin());
    row.kinds.emplace(std::string(name), kind);
  }
  return row;
}

std::string Manifest::Difference(const ManifestRow& row) {
  std::map<std::string, ManifestRow::Kind> here = At(row.epoch).kinds;
  std::vector<std::string> differences;
  for (const auto& [name, kind] : row.kinds) {
    const ManifestRow::Kind found = here[name];
    here.erase(name);
    if (found == kind) continue;
    if (found.rows < kind.rows) {
      differences.push_back(absl::StrCat("of kind ", name, ", ", Rows(kind.rows - found.rows),
                                         " of ", kind.rows, " missing"));
    } else if (found.rows > kind.rows) {
      differences.push_back(
          absl::StrCat("of kind ", name, ", ", Rows(found.rows - kind.rows), " too many"));
    } else {
      differences.push_back(
          absl::StrCat("of kind ", name, ", a row or more replaced by an older one"));
    }
  }
  for (const auto& [name, kind] : here) {
    differences.push_back(absl::StrCat("of kind ", name, ", ", Rows(kind.rows), " too many"));
  }
  return absl::StrJoin(differences, "; ");
}

}  // namespace keyturn::store

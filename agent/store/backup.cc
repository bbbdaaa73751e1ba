// SPDX-License-Identifier: Apache-2.0
#include "agent/store/backup.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/secret.h"
#include "agent/crypto/byte_layout.h"
#include "agent/crypto/sealed_stream.h"
#include "agent/store/row_key.h"
#include "agent/store/sealed_store.h"

namespace keyturn::store {
namespace {

constexpr absl::string_view kMagic = "KEYTURN-BACKUP\n";
constexpr uint16_t kFormat = 1;

absl::Status Broken(absl::string_view why) {
  return absl::DataLossError(absl::StrCat("the backup ", why, "; use another one"));
}

// One that is read only.
class RowsBackend final : public Backend {
 public:
  explicit RowsBackend(const std::vector<Write>& rows) {
    for (const Write& row : rows) rows_[row.key] = {row.key, *row.value, 1};
  }
  BatchLimits limits() const override { return {}; }
  absl::StatusOr<std::optional<Entry>> Get(absl::string_view key) override {
    const auto found = rows_.find(std::string(key));
    return found == rows_.end() ? std::nullopt : std::optional<Entry>(found->second);
  }
  absl::StatusOr<std::vector<Entry>> Scan(absl::string_view prefix) override {
    std::vector<Entry> entries;
    for (const auto& [key, entry] : rows_) {
      if (absl::StartsWith(key, prefix)) entries.push_back(entry);
    }
    return entries;
  }
  absl::StatusOr<Revision> Commit(const std::vector<Guard>&, const std::vector<Write>&) override {
    return absl::FailedPreconditionError("a backup is not written to");
  }

 private:
  std::map<std::string, Entry> rows_;
};

// The rows in the plaintext of the stream.
absl::StatusOr<std::vector<Write>> ParseRows(absl::string_view plaintext) {
  std::vector<Write> rows;
  crypto::LayoutReader reader(plaintext);
  while (!reader.rest().empty()) {
    absl::string_view key, value;
    if (!reader.FramedBytes(key) || !reader.FramedBytes(value)) {
      return Broken("holds half a row");
    }
    rows.push_back({std::string(key), std::string(value)});
  }
  return rows;
}

// As a starting agent would; says how many credentials there are.
absl::Status Examine(BackupContents& contents, crypto::KekSource& kek, base::Random& random) {
  RowsBackend backend(contents.rows);
  const auto store = SealedStore::Open(backend, kek, random);
  if (!store.ok()) return store.status();
  if (absl::Status s = (*store)->CheckIntegrity(); !s.ok()) return s;
  const auto records = (*store)->LoadAll();
  if (!records.ok()) return records.status();
  contents.agent_id = (*store)->agent_id();
  contents.epoch = (*store)->epoch();
  contents.credentials =
      static_cast<size_t>(std::count_if(records->begin(), records->end(), [](const Record& record) {
        return std::holds_alternative<CredentialRecord>(record);
      }));
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> WriteBackup(const crypto::Keyring& keyring,
                                     const std::vector<Entry>& rows) {
  crypto::StreamSealer sealer(keyring.BackupKey());
  std::vector<std::string> pieces(1, std::string(kMagic));
  crypto::AppendUint16(pieces[0], kFormat);
  crypto::AppendFramed(pieces[0], keyring.header());
  pieces[0] += sealer.header();
  const auto seal = [&](std::string& plaintext, bool last) {
    std::string piece;
    crypto::AppendFramed(piece, sealer.Seal(plaintext, last));
    pieces.push_back(std::move(piece));
    plaintext.clear();
  };
  std::string plaintext;
  for (const Entry& row : rows) {
    crypto::AppendFramed(plaintext, row.key);
    crypto::AppendFramed(plaintext, row.value);
    if (plaintext.size() >= kBackupChunkBytes) seal(plaintext, /*last=*/false);
  }
  seal(plaintext, /*last=*/true);
  return pieces;
}

absl::StatusOr<BackupContents> ReadBackup(absl::string_view backup, crypto::KekSource& kek,
                                          base::Random& random) {
  if (!absl::StartsWith(backup, kMagic)) {
    return absl::InvalidArgumentError("this is no backup that keyturn made");
  }
  crypto::LayoutReader reader(backup.substr(kMagic.size()));
  uint16_t format = 0;
  absl::string_view header, stream_header;
  if (!reader.Uint16(format)) return Broken("is cut short");
  if (format != kFormat) {
    return absl::FailedPreconditionError(
        absl::StrCat("the backup has format ", format, ", which a later keyturnd wrote"));
  }
  if (!reader.FramedBytes(header) || !reader.Bytes(crypto::kStreamHeaderSize, stream_header)) {
    return Broken("is cut short");
  }
  const auto keyring = crypto::Keyring::Open(header, kek, random);
  if (!keyring.ok()) return keyring.status();
  crypto::StreamOpener opener((*keyring)->BackupKey(), stream_header);
  std::string plaintext;
  while (!opener.ended()) {
    absl::string_view chunk;
    if (!reader.FramedBytes(chunk)) return Broken("is cut short");
    const absl::StatusOr<base::Secret> opened = opener.Open(chunk);
    if (!opened.ok()) return Broken(opened.status().message());
    plaintext.append(opened->Reveal().data(), opened->size());
  }
  if (!reader.rest().empty()) return Broken("goes on behind its end");
  absl::StatusOr<std::vector<Write>> rows = ParseRows(plaintext);
  if (!rows.ok()) return rows.status();
  BackupContents contents;
  contents.rows = *std::move(rows);
  if (absl::Status s = Examine(contents, kek, random); !s.ok()) return s;
  return contents;
}

absl::Status Restore(const BackupContents& contents, Backend& backend) {
  const absl::StatusOr<std::vector<Entry>> there = backend.Scan("");
  if (!there.ok()) return there.status();
  if (!there->empty()) return absl::FailedPreconditionError("a backup goes into an empty store");
  const BatchLimits limits = backend.limits();
  std::vector<Write> batch;
  size_t bytes = 0;
  for (const Write& row : contents.rows) {
    const size_t size = row.key.size() + row.value->size();
    if (batch.size() == limits.operations_max || bytes + size > limits.bytes_max) {
      if (auto done = backend.Commit({}, batch); !done.ok()) return done.status();
      batch.clear();
      bytes = 0;
    }
    batch.push_back(row);
    bytes += size;
  }
  return backend.Commit({}, batch).status();
}

}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
#include "agent/store/sealed_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/base/error.h"
#include "agent/base/ids.h"
#include "agent/crypto/byte_layout.h"
#include "agent/store/backup.h"
#include "agent/store/record_codec.h"
#include "agent/store/row_key.h"

namespace keyturn::store {
namespace {

constexpr absl::string_view kAnchorHead = "keyturn-anchor 1\nepoch ";
// What ends an anchor while an altered store is brought in order.
constexpr absl::string_view kAltered = "\naltered\n";
constexpr size_t kAnchorCodeSize = 32;
// Added to the epoch when an older copy is taken for the store: more than all commits that this
// copy can lack, so that every copy made before is an older one from then on.
constexpr uint64_t kEpochsPerRecovery = uint64_t{1} << 32;
// Of an anchor that anybody may have written.
constexpr uint64_t kEpochMax = uint64_t{1} << 62;
constexpr size_t kAgentIdSize = 6;
constexpr size_t kAgentNameSizeMax = 16;

// What a sealed row is tied to besides the store and its data key.
std::string RowData(absl::string_view key) {
  return crypto::Framed({key, key.substr(0, key.find('/'))});
}

absl::Status RowLoss(absl::string_view key, const absl::Status& why) {
  return absl::DataLossError(
      absl::StrCat("row ", key, " of the store ", why.message(),
                   "; nothing has been changed. Restore the store from a backup"));
}

absl::Status CheckAgentName(absl::string_view name) {
  bool good = name.size() <= kAgentNameSizeMax;
  for (const char c : name) {
    const auto u = static_cast<unsigned char>(c);
    good = good && (absl::ascii_islower(u) || absl::ascii_isdigit(u));
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError("agent_name must be 1-16 characters of a-z and 0-9");
}

absl::StatusOr<std::string> OpenAgentId(Backend& backend, const crypto::Keyring& keyring) {
  const absl::StatusOr<std::optional<Entry>> entry = backend.Get(kAgentKey);
  if (!entry.ok()) return entry.status();
  if (!entry->has_value()) return RowLoss(kAgentKey, absl::DataLossError("is missing"));
  const absl::StatusOr<base::Secret> id = keyring.Open((*entry)->value, RowData(kAgentKey));
  if (!id.ok()) return RowLoss(kAgentKey, id.status());
  return std::string(id->Reveal());
}

}  // namespace

absl::StatusOr<bool> SealedStore::IsNew(Backend& backend) {
  const absl::StatusOr<std::optional<Entry>> header = backend.Get(kHeaderKey);
  if (!header.ok()) return header.status();
  if (header->has_value()) return false;
  const absl::StatusOr<std::vector<Entry>> rest = backend.Scan("");
  if (!rest.ok()) return rest.status();
  if (rest->empty()) return true;
  return absl::DataLossError(
      "the store holds rows but no header, without which they cannot be opened; restore the store "
      "from a backup");
}

absl::StatusOr<std::unique_ptr<SealedStore>> SealedStore::Open(Backend& backend,
                                                               crypto::KekSource& kek,
                                                               base::Random& random,
                                                               absl::string_view agent_name,
                                                               Anchor* anchor) {
  if (absl::Status s = CheckAgentName(agent_name); !s.ok()) return s;
  const absl::StatusOr<bool> is_new = IsNew(backend);
  if (!is_new.ok()) return is_new.status();
  if (*is_new) {
    const auto made = crypto::Keyring::Create(kek, random);
    if (!made.ok()) return made.status();
    const std::string id =
        agent_name.empty() ? base::NewId(random).substr(0, kAgentIdSize) : std::string(agent_name);
    std::vector<Write> writes = {{std::string(kHeaderKey), (*made)->header()},
                                 {std::string(kAgentKey), (*made)->Seal(id, RowData(kAgentKey))}};
    Manifest manifest((*made)->manifest_hash());
    for (const Write& write : writes) manifest.Set(write.key, write.value);
    ManifestRow row = manifest.At(1);
    writes.push_back({std::string(kManifestKey), manifest.Encode(row)});
    const absl::StatusOr<Revision> revision = backend.Commit(
        {{std::string(kHeaderKey), 0}, {std::string(kAgentKey), 0}, {std::string(kManifestKey), 0}},
        writes);
    if (!revision.ok() && !absl::IsUnknown(revision.status())) return revision.status();
  }
  // A new store is read back as well: what cannot be opened now must not be trusted with a key.
  const absl::StatusOr<std::optional<Entry>> header = backend.Get(kHeaderKey);
  if (!header.ok()) return header.status();
  if (!header->has_value()) return absl::UnavailableError("the new store could not be written");
  auto keyring = crypto::Keyring::Open((*header)->value, kek, random);
  if (!keyring.ok()) return keyring.status();
  absl::StatusOr<std::string> id = OpenAgentId(backend, **keyring);
  if (!id.ok()) return id.status();
  if (!agent_name.empty() && agent_name != *id) {
    return absl::FailedPreconditionError(
        absl::StrCat("the store belongs to agent_name ", *id, ", not ", agent_name,
                     "; keys at providers carry its name, so it cannot be changed"));
  }
  auto store = std::unique_ptr<SealedStore>(
      new SealedStore(backend, *std::move(keyring), *std::move(id), anchor));
  if (absl::Status s = store->Survey(); !s.ok()) return s;
  return store;
}

// Reads every row for what the manifest says of them, and opens none.
absl::Status SealedStore::Survey() {
  const absl::StatusOr<std::vector<Entry>> entries = backend_.Scan("");
  if (!entries.ok()) return entries.status();
  return Survey(*entries);
}

absl::Status SealedStore::Survey(const std::vector<Entry>& entries) {
  manifest_.Clear();
  revisions_.clear();
  const Entry* stored = nullptr;
  for (const Entry& entry : entries) {
    revisions_.emplace(entry.key, entry.revision);
    if (entry.key == kManifestKey) {
      stored = &entry;
    } else {
      manifest_.Set(entry.key, entry.value);
    }
  }
  const absl::StatusOr<ManifestRow> row =
      stored == nullptr ? absl::DataLossError("is missing") : manifest_.Decode(stored->value);
  if (!row.ok() && !absl::IsDataLoss(row.status())) return RowLoss(kManifestKey, row.status());
  altered_ = row.ok() ? manifest_.Difference(*row)
                      : absl::StrCat("the row ", kManifestKey, ", which lists all others, ",
                                     row.status().message());
  if (!altered_.empty()) altered_ += BrokenRow(entries);
  epoch_ = row.ok() ? row->epoch : 0;
  manifest_code_ = row.ok() ? row->code : "";
  CompareWithAnchor();
  if (accepted_ && !altered_.empty()) {
    rolled_back_ = true;
    altered_.clear();
  }
  return absl::OkStatus();
}

std::string SealedStore::BrokenRow(const std::vector<Entry>& entries) const {
  for (const Entry& entry : entries) {
    if (entry.key == kHeaderKey || entry.key == kManifestKey) continue;
    const absl::Status opened = keyring_->Open(entry.value, RowData(entry.key)).status();
    if (!opened.ok()) return absl::StrCat("; the row ", entry.key, " ", opened.message());
  }
  return "";
}

absl::Status SealedStore::CheckIntegrity() const {
  if (!altered_.empty()) {
    return base::WithReason(
        absl::DataLossError(
            absl::StrCat("the store was altered by something else than keyturnd, or damaged (",
                         altered_, "); nothing has been changed. Restore it from a backup")),
        "STORE_ALTERED");
  }
  if (rolled_back_) {
    return base::WithReason(
        absl::FailedPreconditionError("an older copy of the store was put back, or its anchor "
                                      "cannot be read"),
        "ROLLBACK_DETECTED");
  }
  return absl::OkStatus();
}

absl::Status SealedStore::Accept() {
  if (!altered_.empty() && anchor_ != nullptr) {
    // From here on its rows are made to agree again: until that is done, a restart has to find out.
    const std::string text = absl::StrCat(kAnchorHead, std::max(noted_, epoch_), kAltered);
    if (absl::Status s = anchor_->Write(text); !s.ok()) return s;
  }
  accepted_ = true;
  rolled_back_ = rolled_back_ || !altered_.empty();
  altered_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Record>> SealedStore::LoadAll() {
  absl::StatusOr<std::vector<Entry>> entries = backend_.Scan("");
  if (!entries.ok()) return entries.status();
  std::vector<Record> records;
  for (const Entry& entry : *entries) {
    if (entry.key == kHeaderKey || entry.key == kAgentKey || entry.key == kManifestKey) continue;
    const absl::StatusOr<base::Secret> opened = keyring_->Open(entry.value, RowData(entry.key));
    if (!opened.ok()) return RowLoss(entry.key, opened.status());
    absl::StatusOr<Record> record = DecodeRecord(entry.key, opened->Reveal());
    if (!record.ok()) return RowLoss(entry.key, record.status());
    records.push_back(*std::move(record));
  }
  if (absl::Status s = Survey(*entries); !s.ok()) return s;
  if (!accepted_) {
    if (absl::Status s = CheckIntegrity(); !s.ok()) return s;
  }
  in_doubt_ = false;
  return records;
}

std::string SealedStore::AnchorText(uint64_t epoch, absl::string_view manifest_code) const {
  const std::string number = absl::StrCat(epoch);
  const std::string code =
      keyed_hash().Of("anchor", crypto::Framed({number, manifest_code}), kAnchorCodeSize);
  return absl::StrCat(kAnchorHead, number, "\nmanifest ", absl::BytesToHexString(manifest_code),
                      "\ncode ", absl::BytesToHexString(code), "\n");
}

void SealedStore::CompareWithAnchor() {
  rolled_back_ = false;
  noted_ = 0;
  if (anchor_ == nullptr) return;
  const absl::StatusOr<std::string> text = anchor_->Read();
  if (text.ok() && text->empty()) return;
  // What cannot be read as this store's anchor proves nothing good: it counts as a later one.
  rolled_back_ = true;
  if (!text.ok()) return;
  const std::vector<absl::string_view> lines = absl::StrSplit(*text, '\n');
  absl::string_view number = lines.size() > 1 ? lines[1] : "";
  absl::string_view code = lines.size() > 2 ? lines[2] : "";
  uint64_t epoch = 0;
  if (!absl::ConsumePrefix(&number, "epoch ") || !absl::SimpleAtoi(number, &epoch)) return;
  noted_ = std::min(epoch, kEpochMax);
  if (!absl::ConsumePrefix(&code, "manifest ") || code.size() % 2 != 0) return;
  const std::string noted_code = absl::HexStringToBytes(code);
  if (*text != AnchorText(epoch, noted_code)) return;
  rolled_back_ = epoch > epoch_ || (epoch == epoch_ && noted_code != manifest_code_);
}

absl::Status SealedStore::DropAnchor() {
  if (rolled_back_) {
    Batch nothing;
    absl::Status s = CommitBatch(std::move(nothing), std::max(noted_, epoch_) + kEpochsPerRecovery);
    if (!s.ok()) return s;
  }
  if (anchor_ != nullptr) {
    absl::Status written = anchor_->Write(AnchorText(epoch_, manifest_code_));
    if (!written.ok()) return written;
  }
  rolled_back_ = false;
  return absl::OkStatus();
}

absl::Status SealedStore::Commit(const Transaction& transaction) {
  if (transaction.empty()) return absl::OkStatus();
  if (in_doubt_) {
    return absl::FailedPreconditionError(
        "an earlier change may or may not be on the disk; restart keyturnd, which reads it back");
  }
  absl::StatusOr<Batch> batch = MakeBatch(transaction);
  if (!batch.ok()) return batch.status();
  // While an older copy is brought in order it keeps its epoch, so that a restart finds out again.
  return CommitBatch(*std::move(batch), rolled_back_ ? epoch_ : epoch_ + 1);
}

absl::Status SealedStore::CommitBatch(Batch batch, uint64_t epoch) {
  std::vector<Manifest::Change> changes;
  for (const Write& write : batch.writes) {
    changes.push_back(manifest_.Set(write.key, write.value));
  }
  ManifestRow row = manifest_.At(epoch);
  batch.guards.push_back({std::string(kManifestKey), RevisionOf(std::string(kManifestKey))});
  batch.writes.push_back({std::string(kManifestKey), manifest_.Encode(row)});
  absl::StatusOr<Revision> committed = backend_.Commit(batch.guards, batch.writes);
  if (absl::IsUnknown(committed.status())) committed = ReadBack(batch, committed.status());
  if (!committed.ok()) {
    while (!changes.empty()) {
      manifest_.Revert(changes.back());
      changes.pop_back();
    }
    return committed.status();
  }
  Remember(batch, *committed);
  epoch_ = epoch;
  manifest_code_ = row.code;
  if (anchor_ != nullptr && !rolled_back_) anchor_->Note(AnchorText(epoch_, manifest_code_));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SealedStore::Backup() {
  if (in_doubt_) return absl::FailedPreconditionError("what is on the disk is in doubt; restart");
  const absl::StatusOr<std::vector<Entry>> entries = backend_.Scan("");
  if (!entries.ok()) return entries.status();
  return WriteBackup(*keyring_, *entries);
}

Revision SealedStore::RevisionOf(const std::string& key) const {
  const auto found = revisions_.find(key);
  return found == revisions_.end() ? 0 : found->second;
}

absl::StatusOr<SealedStore::Batch> SealedStore::MakeBatch(const Transaction& transaction) const {
  Batch batch;
  for (const Record& record : transaction.puts()) {
    std::string key = KeyOf(record);
    if (!ParseRowKey(key).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("no record may have the key ", key));
    }
    const base::Secret plaintext = EncodeRecord(record);
    batch.guards.push_back({key, RevisionOf(key)});
    std::string sealed = keyring_->Seal(plaintext.Reveal(), RowData(key));
    batch.writes.push_back({std::move(key), std::move(sealed)});
  }
  for (const std::string& key : transaction.deletes()) {
    if (!ParseRowKey(key).has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("no record has the key ", key));
    }
    batch.guards.push_back({key, RevisionOf(key)});
    batch.writes.push_back({key, std::nullopt});
  }
  return batch;
}

absl::StatusOr<Revision> SealedStore::ReadBack(const Batch& batch, const absl::Status& why) {
  // All or nothing, and each commit writes a manifest that no other one has.
  const absl::StatusOr<std::optional<Entry>> entry = backend_.Get(kManifestKey);
  if (!entry.ok()) {
    in_doubt_ = true;
    return absl::UnknownError(
        absl::StrCat(why.message(), "; reading back failed too: ", entry.status().message()));
  }
  if (entry->has_value() && (*entry)->value == batch.writes.back().value) return (*entry)->revision;
  return absl::UnavailableError(absl::StrCat("nothing was written: ", why.message()));
}

void SealedStore::Remember(const Batch& batch, Revision revision) {
  for (const Write& write : batch.writes) {
    if (write.value.has_value()) {
      revisions_[write.key] = revision;
    } else {
      revisions_.erase(write.key);
    }
  }
}

}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
#include "agent/store/sealed_store.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/base/ids.h"
#include "agent/crypto/byte_layout.h"
#include "agent/store/record_codec.h"
#include "agent/store/row_key.h"

namespace keyturn::store {
namespace {

constexpr absl::string_view kAnchorHead = "keyturn-anchor 1\nrevision ";
constexpr size_t kLineSize = 16;
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
    const absl::StatusOr<Revision> revision =
        backend.Commit({{std::string(kHeaderKey), 0}, {std::string(kAgentKey), 0}},
                       {{std::string(kHeaderKey), (*made)->header()},
                        {std::string(kAgentKey), (*made)->Seal(id, RowData(kAgentKey))}});
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
  return std::unique_ptr<SealedStore>(
      new SealedStore(backend, *std::move(keyring), *std::move(id), anchor, random));
}

absl::StatusOr<std::vector<Record>> SealedStore::LoadAll() {
  absl::StatusOr<std::vector<Entry>> entries = backend_.Scan("");
  if (!entries.ok()) return entries.status();
  std::vector<Record> records;
  absl::flat_hash_map<std::string, Revision> revisions;
  std::string line;
  for (const Entry& entry : *entries) {
    if (entry.key == kHeaderKey || entry.key == kAgentKey) continue;
    const absl::StatusOr<base::Secret> opened = keyring_->Open(entry.value, RowData(entry.key));
    if (!opened.ok()) return RowLoss(entry.key, opened.status());
    if (entry.key == kLineKey) {
      line = std::string(opened->Reveal());
      continue;
    }
    absl::StatusOr<Record> record = DecodeRecord(entry.key, opened->Reveal());
    if (!record.ok()) return RowLoss(entry.key, record.status());
    revisions.emplace(entry.key, entry.revision);
    records.push_back(*std::move(record));
  }
  line_ = std::move(line);
  if (absl::Status s = CompareWithAnchor(); !s.ok()) return s;
  revisions_ = std::move(revisions);
  in_doubt_ = false;
  return records;
}

std::string SealedStore::AnchorText(Revision revision) const {
  const std::string number = absl::StrCat(revision);
  return absl::StrCat(
      kAnchorHead, number, "\ncode ",
      absl::BytesToHexString(keyed_hash().Of("anchor", crypto::Framed({line_, number}))), "\n");
}

absl::Status SealedStore::CompareWithAnchor() {
  if (anchor_ == nullptr) return absl::OkStatus();
  const absl::StatusOr<Revision> latest = backend_.Latest();
  if (!latest.ok()) return latest.status();
  const absl::StatusOr<std::string> text = anchor_->Read();
  if (!text.ok()) {
    rolled_back_ = true;
    return absl::OkStatus();
  }
  absl::string_view rest = *text;
  Revision noted = 0;
  // What cannot be read as this store's anchor proves nothing good: it counts as a later one.
  const bool ours = absl::ConsumePrefix(&rest, kAnchorHead) &&
                    absl::SimpleAtoi(rest.substr(0, rest.find('\n')), &noted) &&
                    *text == AnchorText(noted);
  rolled_back_ = !text->empty() && (!ours || noted > *latest);
  return absl::OkStatus();
}

absl::Status SealedStore::BeginLine() {
  const absl::StatusOr<std::optional<Entry>> before = backend_.Get(kLineKey);
  if (!before.ok()) return before.status();
  const Revision revision = before->has_value() ? (*before)->revision : 0;
  const std::string line = random_.Bytes(kLineSize);
  const absl::StatusOr<Revision> committed =
      backend_.Commit({{std::string(kLineKey), revision}},
                      {{std::string(kLineKey), keyring_->Seal(line, RowData(kLineKey))}});
  // After UNKNOWN nobody can say which of two the store has: then there is none to write down yet.
  if (!committed.ok()) return committed.status();
  line_ = line;
  return absl::OkStatus();
}

absl::Status SealedStore::DropAnchor() {
  if (anchor_ == nullptr) return absl::OkStatus();
  if (rolled_back_) {
    if (absl::Status s = BeginLine(); !s.ok()) return s;
  }
  const absl::StatusOr<Revision> latest = backend_.Latest();
  if (!latest.ok()) return latest.status();
  absl::Status written = anchor_->Write(AnchorText(*latest));
  if (written.ok()) rolled_back_ = false;
  return written;
}

absl::Status SealedStore::Commit(const Transaction& transaction) {
  if (transaction.empty()) return absl::OkStatus();
  if (in_doubt_) {
    return absl::FailedPreconditionError(
        "an earlier change may or may not be on the disk; restart keyturnd, which reads it back");
  }
  absl::StatusOr<Batch> batch = MakeBatch(transaction);
  if (!batch.ok()) return batch.status();
  const absl::StatusOr<Revision> committed = backend_.Commit(batch->guards, batch->writes);
  if (committed.ok()) {
    Remember(*batch, *committed);
    return absl::OkStatus();
  }
  if (!absl::IsUnknown(committed.status())) return committed.status();

  Revision revision = 0;
  const absl::StatusOr<bool> written = WasWritten(*batch, revision);
  if (!written.ok()) {
    in_doubt_ = true;
    return absl::UnknownError(absl::StrCat(
        committed.status().message(), "; reading back failed too: ", written.status().message()));
  }
  if (*written) {
    Remember(*batch, revision);
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("nothing was written: ", committed.status().message()));
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

absl::StatusOr<bool> SealedStore::WasWritten(const Batch& batch, Revision& revision) {
  // All or nothing, so any write that leaves a trace decides. A put does: its nonce is its own. A
  // delete does when there was a row.
  for (const Write& write : batch.writes) {
    if (!write.value.has_value() && RevisionOf(write.key) == 0) continue;
    const absl::StatusOr<std::optional<Entry>> entry = backend_.Get(write.key);
    if (!entry.ok()) return entry.status();
    if (!write.value.has_value()) return !entry->has_value();
    if (!entry->has_value() || (*entry)->value != *write.value) return false;
    revision = (*entry)->revision;
    return true;
  }
  return true;  // deletes of rows that were not there: nothing to tell apart
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

// SPDX-License-Identifier: Apache-2.0
// Store: records in, records out, each transaction all or nothing. What it holds is sealed before a
// backend sees it. Used from the lifecycle's executor only; calls block on the disk.
//
// Every record type has a key that follows from its contents (docs/formats/store.md):
//   provider/NAME  policy/NAME  credential/NAME  version/NAME/N  rotation/NAME  refresh/NAME
//   consumers/NAME  tag/NAME/TAG  history/NAME/N          (N as 20 digits, so that order is
//   numeric)
// A name may hold `/`, so the number or tag is always the last segment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/store/records.h"

namespace keyturn::store {

using Record =
    std::variant<ProviderRecord, PolicyRecord, CredentialRecord, VersionRecord, RotationRecord,
                 TagRecord, RefreshRecord, ConsumersRecord, HistoryRecord>;

std::string KeyOf(const Record& record);
std::string VersionKey(absl::string_view credential, uint64_t number);
std::string RotationKey(absl::string_view credential);
std::string RefreshKey(absl::string_view credential);
std::string ConsumersKey(absl::string_view credential);
std::string TagKey(absl::string_view credential, absl::string_view tag);
std::string HistoryKey(absl::string_view credential, uint64_t sequence);

// A set of changes that become true together.
class Transaction {
 public:
  void Put(Record record) { puts_.push_back(std::move(record)); }
  void Delete(std::string key) { deletes_.push_back(std::move(key)); }
  bool empty() const { return puts_.empty() && deletes_.empty(); }
  const std::vector<Record>& puts() const { return puts_; }
  const std::vector<std::string>& deletes() const { return deletes_; }

 private:
  std::vector<Record> puts_;
  std::vector<std::string> deletes_;
};

class Store {
 public:
  virtual ~Store() = default;

  // Everything, for the start. DATA_LOSS names the key of a row that cannot be opened: a broken or
  // swapped row must never become a missing credential silently.
  virtual absl::StatusOr<std::vector<Record>> LoadAll() = 0;

  // All or nothing. Each row that this store has read or written is guarded by its revision, so a
  // second writer is found out: ABORTED. RESOURCE_EXHAUSTED when the disk is full, UNAVAILABLE when
  // it failed and nothing was written, INVALID_ARGUMENT when one key is put or deleted twice.
  // UNKNOWN when it failed so that not even reading back works: from then on each Commit answers
  // FAILED_PRECONDITION until LoadAll has shown what is true.
  virtual absl::Status Commit(const Transaction& transaction) = 0;

  // Names this agent in tags; made at the first start and kept.
  virtual const std::string& agent_id() const = 0;

  // All that is stored now, as a file that gives it back: pieces to be put behind one another.
  virtual absl::StatusOr<std::vector<std::string>> Backup() = 0;

  // Notes outside of the store that it has come as far as it has: should a copy from before be put
  // back, the next start finds out. For what cannot be done twice, after its intent was committed
  // and before it is done. An error means that such a copy would not be noticed, and nothing else.
  virtual absl::Status DropAnchor() = 0;
  // After LoadAll: whether an older copy of the store than the anchor knows was put back, or the
  // anchor cannot be read. Holds until DropAnchor.
  virtual bool rolled_back() const = 0;
};

}  // namespace keyturn::store

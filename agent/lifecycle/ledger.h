// SPDX-License-Identifier: Apache-2.0
// Ledger: all records in memory, in step with the store. A commit goes to the disk first and
// becomes visible here only when it is durable, so nothing in the lifecycle acts on what a crash
// could take back. Who uses which version is the one exception: it is believed at once and saved
// soon, and with every transaction that changes the same credential. Used on the lifecycle's
// executor only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/store/store.h"

namespace keyturn::lifecycle {

struct CredentialState {
  store::CredentialRecord record;
  std::map<uint64_t, store::VersionRecord> versions;
  std::optional<store::RotationRecord> rotation;
  std::optional<store::RefreshRecord> refresh;
  store::ConsumersRecord consumers;
  std::map<std::string, store::TagRecord> tags;
  std::map<uint64_t, store::HistoryRecord> history;

  // Null when there is none.
  const store::VersionRecord* Version(uint64_t number) const;
  const store::VersionRecord* Current() const { return Version(record.current_version); }
  // How long consumers go on working if nothing succeeds from now on: zero without a value that is
  // valid, InfiniteDuration when they never break by time alone.
  absl::Duration Runway(absl::Time now) const;
};

// Whose keys count: those of the whole service, or only those that the provider itself lists.
enum class Reach { kService, kKeySet };

class Ledger {
 public:
  using Credentials = std::map<std::string, CredentialState, std::less<>>;

  // `before_change` runs before a commit that changes a credential, and may call SetConsumers.
  // `on_taken` runs once, when a commit finds that another process has written to the store.
  explicit Ledger(store::Store& store, std::function<void()> before_change = nullptr,
                  std::function<void(const absl::Status&)> on_taken = nullptr)
      : store_(store), before_change_(std::move(before_change)), on_taken_(std::move(on_taken)) {}

  // Reads everything; call once, first.
  absl::Status Load();
  // As store::Store::Commit. Memory changes only on OK. After ABORTED memory is known to be behind
  // the store, and every later commit is refused with FAILED_PRECONDITION.
  absl::Status Commit(const store::Transaction& transaction);
  absl::StatusOr<std::vector<std::string>> Backup() { return store_.Backup(); }
  // As store::Store::DropAnchor.
  absl::Status DropAnchor() { return store_.DropAnchor(); }
  bool rolled_back() const { return store_.rolled_back(); }
  // Whether that has happened. Who sees it calls nobody any more: what the call would be for may no
  // longer be true.
  bool taken() const { return taken_; }

  // Of a credential that exists. Visible at once, on the disk with the next commit that touches the
  // credential, or with SaveConsumers.
  void SetConsumers(store::ConsumersRecord record);
  absl::Status SaveConsumers();

  const CredentialState* Find(absl::string_view name) const;
  const Credentials& credentials() const { return credentials_; }
  const std::map<std::string, store::ProviderRecord>& providers() const { return providers_; }
  const std::map<std::string, store::PolicyRecord>& policies() const { return policies_; }
  const std::string& agent_id() const { return store_.agent_id(); }

  // The ids of every key at this provider that some credential still accounts for: versions not yet
  // revoked, and keys just made by open rotations. ownership.h says which providers are one
  // service, whose ids do not repeat; those of different services do, and so do the names of slots.
  std::set<std::string> KnownKeyIds(const std::string& provider,
                                    Reach reach = Reach::kService) const;

  // Adds a history entry to the transaction and drops the oldest beyond what is kept.
  void AddHistory(store::Transaction& transaction, store::HistoryRecord entry) const;

 private:
  void Apply(const store::Record& record);
  void Erase(const std::string& key);
  absl::Status CommitAll(const store::Transaction& transaction);

  store::Store& store_;
  const std::function<void()> before_change_;
  const std::function<void(const absl::Status&)> on_taken_;
  bool taken_ = false;
  Credentials credentials_;
  std::set<std::string> unsaved_consumers_;
  std::map<std::string, store::ProviderRecord> providers_;
  std::map<std::string, store::PolicyRecord> policies_;
};

}  // namespace keyturn::lifecycle

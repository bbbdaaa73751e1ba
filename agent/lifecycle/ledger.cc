// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/ledger.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/base/check.h"
#include "agent/lifecycle/ownership.h"

namespace keyturn::lifecycle {
namespace {

constexpr size_t kHistoryKept = 100;
// Rows of one transaction; a store may have a limit on them.
constexpr size_t kSavedAtOnce = 64;

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

const store::VersionRecord* CredentialState::Version(uint64_t number) const {
  const auto found = versions.find(number);
  return found == versions.end() ? nullptr : &found->second;
}

absl::Duration CredentialState::Runway(absl::Time now) const {
  const store::VersionRecord* current = Current();
  if (current == nullptr) return absl::ZeroDuration();
  if (current->expires_at == store::kNever) return absl::InfiniteDuration();
  return std::max(absl::ZeroDuration(), current->expires_at - now);
}

absl::Status Ledger::Load() {
  auto records = store_.LoadAll();
  if (!records.ok()) return records.status();
  for (const store::Record& record : *records) Apply(record);
  for (const auto& [name, state] : credentials_) {
    // Parts without their credential cannot come from our own transactions.
    if (state.record.name.empty()) {
      return absl::DataLossError(
          absl::StrCat("the store holds parts of the credential \"", name,
                       "\" but not the credential itself; restore the store from a backup"));
    }
  }
  return absl::OkStatus();
}

// A promotion is never on the disk without what is known of the old version's consumers.
absl::Status Ledger::Commit(const store::Transaction& transaction) {
  std::set<std::string> touched;
  for (const store::Record& record : transaction.puts()) {
    const auto* credential = std::get_if<store::CredentialRecord>(&record);
    if (credential != nullptr) touched.insert(credential->name);
  }
  if (!touched.empty() && before_change_) before_change_();
  for (auto it = touched.begin(); it != touched.end();) {
    it = unsaved_consumers_.count(*it) != 0 ? std::next(it) : touched.erase(it);
  }
  if (touched.empty()) return CommitAll(transaction);
  store::Transaction extended = transaction;
  for (const std::string& name : touched) extended.Put(Find(name)->consumers);
  absl::Status status = CommitAll(extended);
  if (status.ok()) {
    for (const std::string& name : touched) unsaved_consumers_.erase(name);
  }
  return status;
}

void Ledger::SetConsumers(store::ConsumersRecord record) {
  const auto found = credentials_.find(record.credential);
  KEYTURN_CHECK(found != credentials_.end(), "only a credential that exists has consumers");
  unsaved_consumers_.insert(record.credential);
  found->second.consumers = std::move(record);
}

absl::Status Ledger::SaveConsumers() {
  while (!unsaved_consumers_.empty()) {
    store::Transaction transaction;
    std::vector<std::string> names;
    for (const std::string& name : unsaved_consumers_) {
      if (names.size() == kSavedAtOnce) break;
      transaction.Put(Find(name)->consumers);
      names.push_back(name);
    }
    if (absl::Status status = CommitAll(transaction); !status.ok()) return status;
    for (const std::string& name : names) unsaved_consumers_.erase(name);
  }
  return absl::OkStatus();
}

absl::Status Ledger::CommitAll(const store::Transaction& transaction) {
  if (taken_) {
    return absl::FailedPreconditionError(
        "another process has written to the store; start keyturnd again, which reads it anew");
  }
  if (absl::Status status = store_.Commit(transaction); !status.ok()) {
    // Whether it is stored cannot be found out: what is in memory may be wrong from here on.
    if (absl::IsUnknown(status)) {
      base::EndProcess(
          "the store failed in the middle of a commit and cannot be read; start again");
    }
    if (absl::IsAborted(status)) {
      taken_ = true;
      if (on_taken_) on_taken_(status);
    }
    return status;
  }
  for (const std::string& key : transaction.deletes()) Erase(key);
  for (const store::Record& record : transaction.puts()) Apply(record);
  return absl::OkStatus();
}

const CredentialState* Ledger::Find(absl::string_view name) const {
  const auto found = credentials_.find(name);
  return found == credentials_.end() ? nullptr : &found->second;
}

void Ledger::Apply(const store::Record& record) {
  std::visit(
      Overloaded{
          [this](const store::ProviderRecord& r) { providers_[r.name] = r; },
          [this](const store::PolicyRecord& r) { policies_[r.name] = r; },
          [this](const store::CredentialRecord& r) { credentials_[r.name].record = r; },
          [this](const store::VersionRecord& r) {
            credentials_[r.credential].versions[r.number] = r;
          },
          [this](const store::RotationRecord& r) { credentials_[r.credential].rotation = r; },
          [this](const store::TagRecord& r) { credentials_[r.credential].tags[r.tag] = r; },
          [this](const store::RefreshRecord& r) { credentials_[r.credential].refresh = r; },
          [this](const store::ConsumersRecord& r) { credentials_[r.credential].consumers = r; },
          [this](const store::HistoryRecord& r) {
            credentials_[r.credential].history[r.sequence] = r;
          },
      },
      record);
}

void Ledger::Erase(const std::string& key) {
  const std::pair<absl::string_view, absl::string_view> split =
      absl::StrSplit(key, absl::MaxSplits('/', 1));
  const auto& [kind, rest] = split;
  if (kind == "provider") {
    providers_.erase(std::string(rest));
  } else if (kind == "policy") {
    policies_.erase(std::string(rest));
  } else if (kind == "credential") {
    credentials_.erase(std::string(rest));
    unsaved_consumers_.erase(std::string(rest));
  } else if (kind == "rotation" || kind == "refresh" || kind == "consumers") {
    // A credential deleted by the same transaction is gone already, with all its parts.
    const auto found = credentials_.find(rest);
    if (found == credentials_.end()) return;
    if (kind == "rotation") found->second.rotation.reset();
    if (kind == "refresh") found->second.refresh.reset();
    if (kind == "consumers") {
      found->second.consumers.consumers.clear();
      unsaved_consumers_.erase(found->first);
    }
  } else {
    // Names may hold slashes, the last segment never does.
    const size_t slash = rest.rfind('/');
    const auto found = credentials_.find(rest.substr(0, slash));
    if (slash == absl::string_view::npos || found == credentials_.end()) return;
    const absl::string_view last = rest.substr(slash + 1);
    uint64_t number = 0;
    if (kind == "tag") found->second.tags.erase(std::string(last));
    if (!absl::SimpleAtoi(last, &number)) return;
    if (kind == "version") found->second.versions.erase(number);
    if (kind == "history") found->second.history.erase(number);
  }
}

std::set<std::string> Ledger::KnownKeyIds(const std::string& provider, Reach reach) const {
  const auto keys_of = [reach](const v1::ProviderSpec& spec) {
    return reach == Reach::kKeySet ? KeySetOf(spec) : ServiceOf(spec);
  };
  std::set<std::string> same = {provider};
  if (const auto found = providers_.find(provider); found != providers_.end()) {
    const std::string wanted = keys_of(found->second.spec);
    for (const auto& [name, record] : providers_) {
      if (keys_of(record.spec) == wanted) same.insert(name);
    }
  }
  std::set<std::string> known;
  for (const auto& [name, state] : credentials_) {
    const v1::CredentialSpec& spec = state.record.spec;
    if (same.count(spec.provider()) == 0 && same.count(spec.recovery()) == 0) continue;
    for (const auto& [number, version] : state.versions) {
      const bool live = version.state != store::VersionState::kRevoked &&
                        version.state != store::VersionState::kFailed;
      if (live && !version.provider_key_id.empty()) known.insert(version.provider_key_id);
    }
    if (state.rotation && !state.rotation->new_key_id.empty()) {
      known.insert(state.rotation->new_key_id);
    }
  }
  return known;
}

void Ledger::AddHistory(store::Transaction& transaction, store::HistoryRecord entry) const {
  const CredentialState* state = Find(entry.credential);
  entry.sequence = 1;
  if (state != nullptr && !state->history.empty()) {
    entry.sequence = state->history.rbegin()->first + 1;
    if (state->history.size() >= kHistoryKept) {
      transaction.Delete(store::HistoryKey(entry.credential, state->history.begin()->first));
    }
  }
  transaction.Put(std::move(entry));
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/memory_backend.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace keyturn::fakes {

absl::StatusOr<std::optional<store::Entry>> MemoryBackend::Get(absl::string_view key) {
  absl::MutexLock lock(&mu_);
  const auto found = entries_.find(std::string(key));
  if (found == entries_.end()) return std::optional<store::Entry>();
  return std::optional<store::Entry>(found->second);
}

absl::StatusOr<std::vector<store::Entry>> MemoryBackend::Scan(absl::string_view prefix) {
  absl::MutexLock lock(&mu_);
  std::vector<store::Entry> found;
  for (auto it = entries_.lower_bound(std::string(prefix)); it != entries_.end(); ++it) {
    if (!absl::StartsWith(it->first, prefix)) break;
    found.push_back(it->second);
  }
  return found;
}

absl::StatusOr<store::Revision> MemoryBackend::Commit(const std::vector<store::Guard>& guards,
                                                      const std::vector<store::Write>& writes) {
  if (absl::Status s = store::CheckBatch(limits(), guards, writes); !s.ok()) return s;
  absl::MutexLock lock(&mu_);
  for (const store::Guard& guard : guards) {
    const auto found = entries_.find(guard.key);
    const store::Revision revision = found == entries_.end() ? 0 : found->second.revision;
    if (revision != guard.revision) {
      return absl::AbortedError(absl::StrCat("row ", guard.key, " was written by somebody else"));
    }
  }
  ++last_;
  for (const store::Write& write : writes) {
    if (write.value.has_value()) {
      entries_[write.key] = {write.key, *write.value, last_};
    } else {
      entries_.erase(write.key);
    }
  }
  return last_;
}

MemoryBackend::Copy MemoryBackend::Save() const {
  absl::MutexLock lock(&mu_);
  return {last_, entries_};
}

void MemoryBackend::PutBack(Copy copy) {
  absl::MutexLock lock(&mu_);
  last_ = copy.last;
  entries_ = std::move(copy.entries);
}

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
// Backend in memory. Keeps the whole contract but durability; tests/conformance holds it to that.
// Outlives the stores above it, so a test restarts an agent by opening it again. Thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/store/backend.h"

namespace keyturn::fakes {

class MemoryBackend final : public store::Backend {
 public:
  store::BatchLimits limits() const override { return {10'000, size_t{8} << 20}; }
  absl::StatusOr<std::optional<store::Entry>> Get(absl::string_view key) override;
  absl::StatusOr<std::vector<store::Entry>> Scan(absl::string_view prefix) override;
  absl::StatusOr<store::Revision> Commit(const std::vector<store::Guard>& guards,
                                         const std::vector<store::Write>& writes) override;

  // As a backup of the files, and what putting it back does.
  struct Copy {
    store::Revision last = 0;
    std::map<std::string, store::Entry> entries;
  };
  Copy Save() const;
  void PutBack(Copy copy);

 private:
  mutable absl::Mutex mu_;
  store::Revision last_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, store::Entry> entries_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::fakes

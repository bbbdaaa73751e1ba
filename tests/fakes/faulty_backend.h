// SPDX-License-Identifier: Apache-2.0
// A Backend that fails when told to: the nth commit from now, before it is written, after it is
// written, or for want of room; and reads, for as long as asked. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/store/backend.h"

namespace keyturn::fakes {

enum class CommitFault {
  kDiskFull,       // RESOURCE_EXHAUSTED, nothing written
  kBrokenDisk,     // INTERNAL, nothing written
  kUnknownBefore,  // UNKNOWN, nothing written
  kUnknownAfter,   // UNKNOWN, written all the same
};

class FaultyBackend final : public store::Backend {
 public:
  // `real` must outlive this.
  explicit FaultyBackend(store::Backend& real) : real_(real) {}

  // The nth commit from now fails, 1 being the next. Replaces what was set before.
  void FailCommit(uint64_t nth, CommitFault fault);
  // Every commit fails until this is called with nothing.
  void FailAllCommits(std::optional<CommitFault> fault);
  void FailReads(bool fail);
  uint64_t commits() const;

  store::BatchLimits limits() const override { return real_.limits(); }
  absl::StatusOr<std::optional<store::Entry>> Get(absl::string_view key) override;
  absl::StatusOr<std::vector<store::Entry>> Scan(absl::string_view prefix) override;
  absl::StatusOr<store::Revision> Commit(const std::vector<store::Guard>& guards,
                                         const std::vector<store::Write>& writes) override;

 private:
  std::optional<CommitFault> NextFault();
  absl::Status ReadFault() const;

  store::Backend& real_;
  mutable absl::Mutex mu_;
  uint64_t commits_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_at_ ABSL_GUARDED_BY(mu_) = 0;
  CommitFault fault_ ABSL_GUARDED_BY(mu_) = CommitFault::kDiskFull;
  std::optional<CommitFault> always_ ABSL_GUARDED_BY(mu_);
  bool fail_reads_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/faulty_backend.h"

namespace keyturn::fakes {

void FaultyBackend::FailCommit(uint64_t nth, CommitFault fault) {
  absl::MutexLock lock(&mu_);
  fail_at_ = commits_ + nth;
  fault_ = fault;
}

void FaultyBackend::FailAllCommits(std::optional<CommitFault> fault) {
  absl::MutexLock lock(&mu_);
  always_ = fault;
}

void FaultyBackend::FailReads(bool fail) {
  absl::MutexLock lock(&mu_);
  fail_reads_ = fail;
}

uint64_t FaultyBackend::commits() const {
  absl::MutexLock lock(&mu_);
  return commits_;
}

std::optional<CommitFault> FaultyBackend::NextFault() {
  absl::MutexLock lock(&mu_);
  ++commits_;
  if (always_.has_value()) return always_;
  return commits_ == fail_at_ ? std::optional<CommitFault>(fault_) : std::nullopt;
}

absl::Status FaultyBackend::ReadFault() const {
  absl::MutexLock lock(&mu_);
  return fail_reads_ ? absl::InternalError("injected: the disk cannot be read") : absl::OkStatus();
}

absl::StatusOr<std::optional<store::Entry>> FaultyBackend::Get(absl::string_view key) {
  if (absl::Status s = ReadFault(); !s.ok()) return s;
  return real_.Get(key);
}

absl::StatusOr<std::vector<store::Entry>> FaultyBackend::Scan(absl::string_view prefix) {
  if (absl::Status s = ReadFault(); !s.ok()) return s;
  return real_.Scan(prefix);
}

absl::StatusOr<store::Revision> FaultyBackend::Commit(const std::vector<store::Guard>& guards,
                                                      const std::vector<store::Write>& writes) {
  const std::optional<CommitFault> fault = NextFault();
  if (!fault.has_value()) return real_.Commit(guards, writes);
  switch (*fault) {
    case CommitFault::kDiskFull:
      return absl::ResourceExhaustedError("injected: no space left on the device");
    case CommitFault::kBrokenDisk:
      return absl::InternalError("injected: the disk cannot be written");
    case CommitFault::kUnknownBefore:
      return absl::UnknownError("injected: failed before the commit");
    case CommitFault::kUnknownAfter: {
      const absl::StatusOr<store::Revision> written = real_.Commit(guards, writes);
      if (!written.ok()) return written.status();
      return absl::UnknownError("injected: failed after the commit");
    }
  }
  return absl::InternalError("no such fault");
}

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
// Backend: an ordered key space with revisions, the one small contract that an embedded and a
// distributed engine can both keep. Values are opaque bytes, sealed before they come here.
// Only SealedStore sees a Backend. Calls block on the disk; thread-safe.
// tests/conformance/backend_conformance.h is the contract as code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyturn::store {

// Given by the backend, growing with each commit over the whole store; 0 means absent.
using Revision = uint64_t;

struct Entry {
  std::string key;
  std::string value;
  // Of the commit that last wrote this key.
  Revision revision = 0;
};

// Holds when the key's revision is exactly this one; 0: when the key is absent.
struct Guard {
  std::string key;
  Revision revision = 0;
};

struct Write {
  std::string key;
  // Absent: delete the key (no error when there is none).
  std::optional<std::string> value;
};

// What one commit may hold. A backend states its own, so that a caller with more to write can see
// it before it seals anything. Every backend takes at least 128 operations and 1 MiB.
struct BatchLimits {
  // Of guards and of writes, each.
  size_t operations_max = 0;
  // Keys and values of all writes together.
  size_t bytes_max = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual BatchLimits limits() const = 0;

  virtual absl::StatusOr<std::optional<Entry>> Get(absl::string_view key) = 0;
  // All entries whose key starts with the prefix, in byte order.
  virtual absl::StatusOr<std::vector<Entry>> Scan(absl::string_view prefix) = 0;
  // All guards hold and all writes are durable when this returns OK; else nothing was written,
  // except with
  //   UNKNOWN             either is possible, and the caller must read back
  //   UNAVAILABLE         this process will never see it, but if it ends before another commit of
  //                       its own succeeds, the next process may: as after a crash that came
  //                       right behind the commit
  // Other errors:
  //   ABORTED             a guard does not hold
  //   RESOURCE_EXHAUSTED  the disk is full
  //   INVALID_ARGUMENT    a key is written or guarded twice, or the batch is over limits()
  virtual absl::StatusOr<Revision> Commit(const std::vector<Guard>& guards,
                                          const std::vector<Write>& writes) = 0;
};

// INVALID_ARGUMENT unless the batch keeps the rules above. For implementations.
absl::Status CheckBatch(const BatchLimits& limits, const std::vector<Guard>& guards,
                        const std::vector<Write>& writes);

}  // namespace keyturn::store

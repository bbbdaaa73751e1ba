// SPDX-License-Identifier: Apache-2.0
// Backend: an ordered key space with revisions, the one small contract that an embedded and a
// distributed engine can both keep. Values are opaque bytes, sealed before they come here.
// Only SealedStore sees a Backend. Calls block on the disk; thread-safe.
// tests/conformance/backend_conformance.h is the contract as code.
#pragma once

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

class Backend {
 public:
  virtual ~Backend() = default;

  virtual absl::StatusOr<std::optional<Entry>> Get(absl::string_view key) = 0;
  // All entries whose key starts with the prefix, in byte order.
  virtual absl::StatusOr<std::vector<Entry>> Scan(absl::string_view prefix) = 0;
  // All guards hold and all writes are durable when this returns OK; else nothing was written,
  // unless the error is UNKNOWN: then either is possible and the caller must read back.
  //   ABORTED             a guard does not hold
  //   RESOURCE_EXHAUSTED  the disk is full
  //   INVALID_ARGUMENT    a key is written twice, or the batch is over 128 operations or 1 MiB
  virtual absl::StatusOr<Revision> Commit(const std::vector<Guard>& guards,
                                          const std::vector<Write>& writes) = 0;
};

}  // namespace keyturn::store

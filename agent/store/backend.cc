// SPDX-License-Identifier: Apache-2.0
#include "agent/store/backend.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace keyturn::store {
namespace {

template <class T>
absl::Status CheckKeys(absl::string_view what, const std::vector<T>& operations) {
  absl::flat_hash_set<absl::string_view> keys;
  for (const T& operation : operations) {
    if (!keys.insert(operation.key).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("one commit ", what, " the key ", operation.key, " twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckBatch(const BatchLimits& limits, const std::vector<Guard>& guards,
                        const std::vector<Write>& writes) {
  const size_t operations = std::max(guards.size(), writes.size());
  size_t bytes = 0;
  for (const Write& write : writes) {
    bytes += write.key.size() + (write.value.has_value() ? write.value->size() : 0);
  }
  if (operations > limits.operations_max || bytes > limits.bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a commit of ", operations, " operations and ", bytes,
        " bytes is too large: the limits are ", limits.operations_max, " operations and ",
        limits.bytes_max, " bytes; make the change in smaller parts"));
  }
  if (absl::Status s = CheckKeys("guards", guards); !s.ok()) return s;
  return CheckKeys("writes", writes);
}

}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
#include "agent/api/delivery_marks.h"

#include <string>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace keyturn::api {

bool DeliveryMarks::IsRepeated(const v1::Credential& credential) {
  const absl::string_view name = credential.name();
  std::atomic<uint64_t>& slot = marks_[absl::Hash<absl::string_view>{}(name) % marks_.size()];
  const uint64_t hash =
      absl::Hash<std::pair<absl::string_view, uint64_t>>{}({name, credential.version()});
  const auto minute = static_cast<uint64_t>(
      absl::ToInt64Minutes(clock_.BootNow() - base::BootTime()) & int64_t{0xffff});
  const uint64_t mark = (hash & ~uint64_t{0xffff}) | minute;
  if (slot.load(std::memory_order_relaxed) == mark) return true;
  slot.store(mark, std::memory_order_relaxed);
  return false;
}

void DeliveryMarks::Given(const v1::Credential& credential) {
  if (credential.kind() != v1::API_KEY || IsRepeated(credential)) return;
  lifecycle_.Given({credential.name(), policy_.principal_text(), credential.version(),
                    clock_.WallNow(), /*acknowledged=*/false});
}

}  // namespace keyturn::api

// SPDX-License-Identifier: Apache-2.0
#include "agent/base/backoff.h"

#include <algorithm>

namespace keyturn::base {

absl::Duration Backoff(const BackoffPolicy& policy, uint32_t failures, absl::Duration floor,
                       Random& random) {
  // 2^20 seconds are past any cap; more doublings would only overflow.
  const uint32_t doublings = std::min(failures == 0 ? 0 : failures - 1, 20u);
  const absl::Duration ceiling = std::min(policy.cap, policy.base * (1 << doublings));
  // Half of the first wait is kept as a floor: a draw near zero would be no backoff at all.
  const absl::Duration low = std::max(floor, std::min(policy.base / 2, ceiling));
  return random.Between(low, std::max(low, ceiling));
}

}  // namespace keyturn::base

// SPDX-License-Identifier: Apache-2.0
// How long to wait before the next attempt: exponential with full jitter, so that many agents that
// failed together do not come back together. Pure but for the random draw.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "agent/base/random.h"

namespace keyturn::base {

struct BackoffPolicy {
  absl::Duration base = absl::Seconds(1);
  absl::Duration cap = absl::Minutes(5);
};

// The wait after the `failures`-th failure in a row (1 for the first): uniform in
// [low, max(low, min(cap, base * 2^(failures-1)))), where low is the larger of `floor` (a
// Retry-After) and half of base.
absl::Duration Backoff(const BackoffPolicy& policy, uint32_t failures, absl::Duration floor,
                       Random& random);

}  // namespace keyturn::base

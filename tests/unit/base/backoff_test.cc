// SPDX-License-Identifier: Apache-2.0
// Waits between attempts keep to their bounds.
#include "agent/base/backoff.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/fakes/seeded_random.h"

namespace keyturn::base {
namespace {

RC_GTEST_PROP(Backoff, StaysWithinItsBounds, (uint64_t seed)) {
  fakes::SeededRandom random(seed);
  BackoffPolicy policy;
  policy.base = absl::Milliseconds(*rc::gen::inRange(1, 5000));
  policy.cap = policy.base + absl::Milliseconds(*rc::gen::inRange(0, 500'000));
  const auto failures = *rc::gen::inRange<uint32_t>(0, 100'000);
  const auto floor = absl::Milliseconds(*rc::gen::inRange(0, 900'000));
  const absl::Duration wait = Backoff(policy, failures, floor, random);
  RC_ASSERT(wait >= floor);
  RC_ASSERT(wait >= policy.base / 2);
  RC_ASSERT(wait <= std::max(policy.cap, floor));
}

TEST(Backoff, GrowsAndIsSpread) {
  fakes::SeededRandom random(1);
  const auto most = [&random](uint32_t failures) {
    absl::Duration longest;
    for (int i = 0; i < 500; ++i) {
      longest = std::max(longest, Backoff({}, failures, absl::ZeroDuration(), random));
    }
    return longest;
  };
  EXPECT_LE(most(1), absl::Seconds(1));
  EXPECT_GT(most(4), absl::Seconds(7));
  EXPECT_LE(most(4), absl::Seconds(8));
  EXPECT_GT(most(4'000'000'000u), absl::Seconds(280));
  EXPECT_LE(most(4'000'000'000u), absl::Minutes(5));
}

}  // namespace
}  // namespace keyturn::base

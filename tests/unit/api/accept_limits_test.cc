// SPDX-License-Identifier: Apache-2.0
// Caps and rates that a connection must pass before anything is built for it.
#include "agent/api/accept_limits.h"

#include <gtest/gtest.h>

namespace keyturn::api {
namespace {

using Verdict = AcceptLimits::Verdict;

base::BootTime At(double seconds) { return {absl::Seconds(seconds)}; }

TEST(AcceptLimitsTest, InAllAndOfOneUid) {
  AcceptLimits limits({3, 2, 100, 100});
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kTooManyOfUid);
  EXPECT_EQ(limits.Admit(2, At(0)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(3, At(0)), Verdict::kTooMany);
  EXPECT_EQ(limits.open(), 3u);
  limits.Release(1);
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kAdmitted);
}

TEST(AcceptLimitsTest, TheRateFillsUpAgainToTheBurst) {
  AcceptLimits limits({100, 100, 2, 10});
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kTooFast);
  EXPECT_EQ(limits.Admit(2, At(0)), Verdict::kAdmitted);  // has a rate of its own
  EXPECT_EQ(limits.Admit(1, At(0.1)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(0.1)), Verdict::kTooFast);
  EXPECT_EQ(limits.Admit(1, At(1000)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(1000)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(1000)), Verdict::kTooFast);
}

TEST(AcceptLimitsTest, ManyUidsCannotFillTheMemory) {
  AcceptLimits limits({1'000'000, 1, 1, 1});
  for (uid_t uid = 1; uid <= 10'000; ++uid) {
    ASSERT_EQ(limits.Admit(uid, At(uid * 10.0)), Verdict::kAdmitted) << uid;
    limits.Release(uid);
  }
  EXPECT_EQ(limits.open(), 0u);
}

TEST(AcceptLimitsTest, NewLimitsHoldForWhatComes) {
  AcceptLimits limits({1, 1, 100, 100});
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kAdmitted);
  limits.Set({2, 2, 100, 100});
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kAdmitted);
  EXPECT_EQ(limits.Admit(1, At(0)), Verdict::kTooMany);
}

}  // namespace
}  // namespace keyturn::api

// SPDX-License-Identifier: Apache-2.0
// When a token is refreshed, and what is done while a refresh token is in doubt.
#include "agent/lifecycle/oauth/refresh_policy.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace keyturn::lifecycle::oauth {
namespace {

const base::BootTime kSent{absl::Hours(5)};

RC_GTEST_PROP(RefreshPolicy, SoftHardAndExpiryAreInOrderForEveryLifetime, ()) {
  const auto lifetime = absl::Milliseconds(*rc::gen::inRange<int64_t>(1, 400'000'000));
  const double draw = *rc::gen::inRange(0, 1000) / 1000.0;
  const Windows windows = WindowsFor(kSent, lifetime, draw);
  RC_ASSERT(kSent <= windows.soft);
  RC_ASSERT(windows.soft <= windows.hard);
  RC_ASSERT(windows.hard <= windows.expires);
  RC_ASSERT(windows.expires < kSent + lifetime);
  // Nobody waits from the first moment on.
  RC_ASSERT(kSent < windows.hard);
}

TEST(RefreshPolicy, AnHourHasItsMarginOfAMinute) {
  const Windows windows = WindowsFor(kSent, absl::Hours(1), 0);
  EXPECT_EQ(windows.expires - kSent, absl::Seconds(3599));
  EXPECT_EQ(windows.soft - kSent, absl::Minutes(42));
  EXPECT_EQ(windows.expires - windows.hard, absl::Minutes(1));
}

TEST(RefreshPolicy, TheDrawSpreadsTheSoftPointWithinATenthOfTheLifetime) {
  EXPECT_EQ(WindowsFor(kSent, absl::Seconds(1000), 0).soft - kSent, absl::Seconds(700));
  EXPECT_EQ(WindowsFor(kSent, absl::Seconds(1000), 0.5).soft - kSent, absl::Seconds(750));
}

TEST(RefreshPolicy, AShortTokenIsRefreshedAtHalfItsLife) {
  const Windows windows = WindowsFor(kSent, absl::Seconds(5), 0.9);
  EXPECT_EQ(windows.soft - kSent, absl::Milliseconds(2500));
  EXPECT_GT(windows.hard, windows.soft);
  EXPECT_LT(windows.hard, windows.expires);
}

TEST(RefreshPolicy, NobodyMayAskForTheWholeLifetime) {
  EXPECT_EQ(LongestAsk(absl::Seconds(100)), absl::Seconds(90));
}

// A token that may have been spent goes out again only while the server still accepts it, when
// there is nothing left to lose, or after that one careful retry.
RC_GTEST_PROP(RefreshPolicy, ADoubtfulTokenIsNeverRepeatedAtTheWrongTime, ()) {
  Doubt doubt;
  doubt.rotation =
      *rc::gen::element(v1::REFRESH_TOKEN_ROTATION_UNSPECIFIED, v1::KEEPS, v1::ROTATES);
  doubt.leeway = absl::Seconds(*rc::gen::inRange(0, 700));
  doubt.since_sent = absl::Milliseconds(*rc::gen::inRange(0, 900'000));
  doubt.until_hard = absl::Seconds(*rc::gen::inRange(-600, 600));
  doubt.retried = *rc::gen::weightedElement<bool>({{3, false}, {1, true}});
  const DoubtAction action = Decide(doubt);
  if (doubt.rotation == v1::KEEPS || doubt.retried) {
    RC_ASSERT(action == DoubtAction::kRetryFreely);
  } else if (action == DoubtAction::kRetryInLeeway) {
    RC_ASSERT(doubt.since_sent < doubt.leeway);
    // However long the wait, the repetition leaves while the leeway lasts, and once nothing older
    // can be on its way, if there is time for both.
    const absl::Duration on_its_way = absl::Seconds(*rc::gen::inRange(0, 60));
    const absl::Duration backoff = absl::Milliseconds(*rc::gen::inRange(0, 300'000));
    const absl::Duration wait = InLeewayWait(doubt, on_its_way, backoff);
    RC_ASSERT(wait >= absl::ZeroDuration());
    RC_ASSERT(doubt.since_sent + wait < doubt.leeway - absl::Seconds(5) ||
              wait == absl::ZeroDuration());
    if (std::max(on_its_way, doubt.since_sent + backoff) < doubt.leeway - absl::Seconds(5)) {
      RC_ASSERT(doubt.since_sent + wait >= on_its_way);
    }
  } else {
    RC_ASSERT((action == DoubtAction::kWaitForHard) == (doubt.until_hard > absl::ZeroDuration()));
  }
}

// Tokens that were issued together are not refreshed together.
RC_GTEST_PROP(RefreshPolicy, DrawsSpreadOverATenthOfTheLifetime, ()) {
  const auto lifetime = absl::Seconds(*rc::gen::inRange(120, 400'000));
  const double low = *rc::gen::inRange(0, 500) / 1000.0;
  const double high = low + *rc::gen::inRange(1, 499) / 1000.0;
  const absl::Duration apart =
      WindowsFor(kSent, lifetime, high).soft - WindowsFor(kSent, lifetime, low).soft;
  RC_ASSERT(apart >= lifetime * (0.0999 * (high - low)));
  RC_ASSERT(apart <= lifetime * (0.1001 * (high - low)));
}

struct Case {
  v1::RefreshTokenRotation rotation;
  int leeway_s, since_sent_s, until_hard_s;
  bool retried;
  DoubtAction expected;
};

TEST(RefreshPolicy, ARefreshTokenInDoubtIsTreatedAsItsServerDeserves) {
  const v1::RefreshTokenRotation unknown = v1::REFRESH_TOKEN_ROTATION_UNSPECIFIED;
  const Case cases[] = {
      {v1::KEEPS, 0, 0, 100, false, DoubtAction::kRetryFreely},
      {v1::KEEPS, 0, 900, 0, false, DoubtAction::kRetryFreely},
      {v1::ROTATES, 60, 30, 100, false, DoubtAction::kRetryInLeeway},
      {v1::ROTATES, 60, 54, 100, false, DoubtAction::kRetryInLeeway},
      {v1::ROTATES, 60, 55, 100, false, DoubtAction::kWaitForHard},
      {v1::ROTATES, 60, 55, 0, false, DoubtAction::kRetryNow},
      {v1::ROTATES, 0, 0, 100, false, DoubtAction::kWaitForHard},
      {v1::ROTATES, 0, 0, -1, false, DoubtAction::kRetryNow},
      {v1::ROTATES, 0, 0, -1, true, DoubtAction::kRetryFreely},
      {unknown, 0, 0, 100, false, DoubtAction::kWaitForHard},
      {unknown, 0, 0, 0, false, DoubtAction::kRetryNow},
      {unknown, 5, 0, 100, false, DoubtAction::kWaitForHard},  // no leeway beyond its margin
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Decide({c.rotation, absl::Seconds(c.leeway_s), absl::Seconds(c.since_sent_s),
                      absl::Seconds(c.until_hard_s), c.retried}),
              c.expected)
        << c.rotation << " leeway " << c.leeway_s << " sent " << c.since_sent_s << " hard "
        << c.until_hard_s;
  }
}

}  // namespace
}  // namespace keyturn::lifecycle::oauth

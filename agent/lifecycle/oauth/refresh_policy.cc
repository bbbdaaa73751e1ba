// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/refresh_policy.h"

#include <algorithm>

namespace keyturn::lifecycle::oauth {
namespace {

constexpr absl::Duration kShortLived = absl::Seconds(120);
// A retry inside the leeway must also arrive inside it.
constexpr absl::Duration kLeewayMargin = absl::Seconds(5);

}  // namespace

Windows WindowsFor(base::BootTime sent_at, absl::Duration lifetime, double draw) {
  Windows windows;
  windows.expires = sent_at + lifetime - std::min(absl::Duration(absl::Seconds(1)), lifetime / 2);
  const double part = lifetime < kShortLived ? 0.5 : 0.70 + 0.10 * draw;
  windows.soft = std::min(sent_at + lifetime * part, windows.expires);
  const absl::Duration margin =
      std::max(absl::Duration(absl::Seconds(10)),
               std::min(absl::Duration(absl::Seconds(60)), lifetime * 0.05));
  // A token shorter than its margin still gets a stretch in which gets do not wait.
  const base::BootTime earliest = windows.soft + (windows.expires - windows.soft) / 2;
  windows.hard = std::max(windows.expires - margin, earliest);
  return windows;
}

absl::Duration LongestAsk(absl::Duration lifetime) { return lifetime * 0.9; }

DoubtAction Decide(const Doubt& doubt) {
  if (doubt.rotation == v1::KEEPS || doubt.retried) return DoubtAction::kRetryFreely;
  if (doubt.since_sent < doubt.leeway - kLeewayMargin) return DoubtAction::kRetryInLeeway;
  return doubt.until_hard > absl::ZeroDuration() ? DoubtAction::kWaitForHard
                                                 : DoubtAction::kRetryNow;
}

absl::Duration InLeewayWait(const Doubt& doubt, absl::Duration on_its_way, absl::Duration backoff) {
  const absl::Duration left = doubt.leeway - kLeewayMargin - doubt.since_sent;
  const absl::Duration wait = std::max(backoff, on_its_way);
  // Half of what is left, when that is too long: a repetition in time comes before a late arrival.
  return wait < left ? wait : std::min(backoff, left / 2);
}

}  // namespace keyturn::lifecycle::oauth

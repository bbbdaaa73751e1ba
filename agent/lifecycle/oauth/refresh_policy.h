// SPDX-License-Identifier: Apache-2.0
// When to refresh an access token, and what to do while a refresh token is in doubt. Pure.
// docs/ROTATION.md explains the rules.
#pragma once

#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle::oauth {

struct Windows {
  base::BootTime soft;     // from here on a background refresh is worth it
  base::BootTime hard;     // from here on a get waits for the refresh
  base::BootTime expires;  // from here on the token is never handed out
};

// `draw` in [0, 1) spreads the refreshes of tokens that were issued together.
// The expiry is set a second early: servers count in whole seconds and may start counting at the
// beginning of the second in which they issued (seen with oidc-provider).
Windows WindowsFor(base::BootTime sent_at, absl::Duration lifetime, double draw);

// The lifetime that a caller may ask for with min_remaining. Less than the whole, so that asking
// cannot turn every get into a refresh.
absl::Duration LongestAsk(absl::Duration lifetime);

struct Doubt {
  v1::RefreshTokenRotation rotation = v1::REFRESH_TOKEN_ROTATION_UNSPECIFIED;
  absl::Duration leeway = absl::ZeroDuration();
  // Since the first request whose outcome is unknown was sent: that is when the leeway may have
  // begun.
  absl::Duration since_sent = absl::ZeroDuration();
  // Until the access token that is still served reaches its hard point; zero or less: none is left.
  absl::Duration until_hard = absl::ZeroDuration();
  // The one retry that is made in doubt has been made.
  bool retried = false;
};

enum class DoubtAction {
  kRetryFreely,    // the server keeps refresh tokens, or the last resort is being repeated
  kRetryInLeeway,  // the same token is still good for a little while: soon
  kWaitForHard,    // a replay may end the grant: live on the access token first
  kRetryNow,       // nothing is left to lose
};
DoubtAction Decide(const Doubt& doubt);

// How long to wait before the retry in the leeway. What was sent last may still be `on_its_way` for
// so long: to arrive after its own repetition, it would spend the token that this one brings.
// `backoff` at least, and never so long that the leeway ends before.
absl::Duration InLeewayWait(const Doubt& doubt, absl::Duration on_its_way, absl::Duration backoff);

}  // namespace keyturn::lifecycle::oauth

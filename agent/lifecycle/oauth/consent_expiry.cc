// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/consent_expiry.h"

#include <algorithm>
#include <vector>

#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle::oauth {
namespace {

absl::Time LastUse(const store::RefreshRecord& refresh) {
  return refresh.last_used_at != store::kNever ? refresh.last_used_at : refresh.refresh_token_since;
}

}  // namespace

absl::Time ConsentUntil(const CredentialState& state) {
  if (!UsesRefreshToken(state.record.spec) || !state.refresh || state.refresh->needs_consent) {
    return absl::InfiniteFuture();
  }
  const store::RefreshRecord& refresh = *state.refresh;
  const v1::Consent& consent = state.record.spec.oauth().consent();
  absl::Time until = absl::InfiniteFuture();
  const auto at_the_latest = [&until](absl::Time t) { until = std::min(until, t); };
  if (refresh.refresh_token.empty()) {
    // The server gave none: consent is over with the access token.
    const store::VersionRecord* current = state.Current();
    if (current != nullptr && current->expires_at != store::kNever) return current->expires_at;
    return until;
  }
  if (refresh.refresh_token_expires_at != store::kNever) {
    at_the_latest(refresh.refresh_token_expires_at);
  }
  if (consent.has_lifetime() && refresh.consented_at != store::kNever) {
    at_the_latest(refresh.consented_at + ToDuration(consent.lifetime()));
  }
  if (consent.has_idle() && LastUse(refresh) != store::kNever) {
    at_the_latest(LastUse(refresh) + ToDuration(consent.idle()));
  }
  return until;
}

absl::Time KeepAliveAt(const CredentialState& state) {
  const v1::Consent& consent = state.record.spec.oauth().consent();
  if (!UsesRefreshToken(state.record.spec) || !consent.has_idle() || !state.refresh ||
      state.refresh->refresh_token.empty() || LastUse(*state.refresh) == store::kNever) {
    return absl::InfiniteFuture();
  }
  return LastUse(*state.refresh) + ToDuration(consent.idle()) * 0.8;
}

ConsentNotice NoticeOf(absl::Time since, absl::Time until, absl::Time now) {
  const absl::Duration day = absl::Hours(24);
  std::vector<absl::Duration> before = {14 * day, 7 * day, 3 * day, day};
  if (until - since <= before.front()) before = {(until - since) / 2, (until - since) / 4};
  ConsentNotice notice;
  for (const absl::Duration left : before) {
    if (until - left <= now) {
      ++notice.due;
    } else {
      notice.next = std::min(notice.next, until - left);
    }
  }
  return notice;
}

}  // namespace keyturn::lifecycle::oauth

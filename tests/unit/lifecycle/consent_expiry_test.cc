// SPDX-License-Identifier: Apache-2.0
// When consent ends, as far as anybody can know, and when its refresh token must be used to live.
#include "agent/lifecycle/oauth/consent_expiry.h"

#include <gtest/gtest.h>

#include "agent/base/secret.h"

namespace keyturn::lifecycle::oauth {
namespace {

const absl::Time kConsented = absl::FromUnixSeconds(1767614400);
const absl::Duration kDay = absl::Hours(24);

// Consented, with a refresh token and nothing that says when it ends.
CredentialState Consented() {
  CredentialState state;
  state.record.name = "t";
  state.record.spec.mutable_oauth()->set_grant(v1::AUTHORIZATION_CODE);
  state.refresh.emplace();
  state.refresh->refresh_token = base::Secret("rt");
  state.refresh->consented_at = state.refresh->refresh_token_since = kConsented;
  return state;
}
void SetLifetime(CredentialState& state, int64_t days) {
  state.record.spec.mutable_oauth()->mutable_consent()->mutable_lifetime()->set_seconds(days *
                                                                                        86400);
}
void SetIdle(CredentialState& state, int64_t days) {
  state.record.spec.mutable_oauth()->mutable_consent()->mutable_idle()->set_seconds(days * 86400);
}
void SetAccessToken(CredentialState& state, absl::Time expires_at) {
  state.record.current_version = 1;
  store::VersionRecord& version = state.versions[1];
  version.number = 1;
  version.expires_at = expires_at;
}

TEST(ConsentUntil, NothingIsKnownUnlessSomebodySaysIt) {
  EXPECT_EQ(ConsentUntil(Consented()), absl::InfiniteFuture());
  EXPECT_EQ(KeepAliveAt(Consented()), absl::InfiniteFuture());
}

TEST(ConsentUntil, IsTheEarliestOfAllThatEndsIt) {
  CredentialState state = Consented();
  SetLifetime(state, 90);
  EXPECT_EQ(ConsentUntil(state), kConsented + 90 * kDay);
  state.refresh->refresh_token_expires_at = kConsented + 60 * kDay;
  EXPECT_EQ(ConsentUntil(state), kConsented + 60 * kDay);
  SetIdle(state, 30);
  EXPECT_EQ(ConsentUntil(state), kConsented + 30 * kDay) << "it was never used";
  state.refresh->last_used_at = kConsented + 10 * kDay;
  EXPECT_EQ(ConsentUntil(state), kConsented + 40 * kDay) << "each use begins the idle time anew";
  state.refresh->last_used_at = kConsented + 80 * kDay;
  EXPECT_EQ(ConsentUntil(state), kConsented + 60 * kDay);
}

TEST(ConsentUntil, ADateThatIsNotKnownIsNotCounted) {
  CredentialState state = Consented();
  SetLifetime(state, 90);
  SetIdle(state, 30);
  state.refresh->consented_at = state.refresh->refresh_token_since = store::kNever;
  EXPECT_EQ(ConsentUntil(state), absl::InfiniteFuture());
  EXPECT_EQ(KeepAliveAt(state), absl::InfiniteFuture());
}

TEST(ConsentUntil, WithoutARefreshTokenItEndsWithTheAccessToken) {
  CredentialState state = Consented();
  SetLifetime(state, 90);
  SetIdle(state, 30);
  state.refresh->refresh_token.Clear();
  EXPECT_EQ(ConsentUntil(state), absl::InfiniteFuture()) << "and there is none";
  SetAccessToken(state, kConsented + absl::Hours(1));
  EXPECT_EQ(ConsentUntil(state), kConsented + absl::Hours(1));
  EXPECT_EQ(KeepAliveAt(state), absl::InfiniteFuture());
  SetAccessToken(state, store::kNever);
  EXPECT_EQ(ConsentUntil(state), absl::InfiniteFuture());
}

TEST(ConsentUntil, WhatNeedsNoConsentOrHasLostItHasNoEndAhead) {
  CredentialState state = Consented();
  SetLifetime(state, 90);
  SetIdle(state, 30);
  state.refresh->needs_consent = true;
  EXPECT_EQ(ConsentUntil(state), absl::InfiniteFuture());
  state.refresh.reset();
  EXPECT_EQ(ConsentUntil(state), absl::InfiniteFuture());
  EXPECT_EQ(KeepAliveAt(state), absl::InfiniteFuture());
  state = Consented();
  SetLifetime(state, 90);
  SetIdle(state, 30);
  state.record.spec.mutable_oauth()->set_grant(v1::CLIENT_CREDENTIALS);
  EXPECT_EQ(ConsentUntil(state), absl::InfiniteFuture());
  EXPECT_EQ(KeepAliveAt(state), absl::InfiniteFuture());
}

TEST(KeepAliveAt, IsEarlyEnoughToTryAgain) {
  CredentialState state = Consented();
  SetIdle(state, 10);
  EXPECT_EQ(KeepAliveAt(state), kConsented + 8 * kDay);
  state.refresh->last_used_at = kConsented + kDay;
  EXPECT_EQ(KeepAliveAt(state), kConsented + 9 * kDay);
}

TEST(NoticeOf, ALongConsentIsToldOfFourTimesBeforeItEnds) {
  const absl::Time until = kConsented + 90 * kDay;
  struct Case {
    absl::Duration left;
    int due;
    absl::Duration next;  // zero: none
  };
  for (const Case& c :
       {Case{15 * kDay, 0, 14 * kDay}, Case{14 * kDay, 1, 7 * kDay}, Case{10 * kDay, 1, 7 * kDay},
        Case{7 * kDay, 2, 3 * kDay}, Case{3 * kDay, 3, kDay}, Case{kDay, 4, absl::ZeroDuration()},
        Case{-kDay, 4, absl::ZeroDuration()}}) {
    const ConsentNotice notice = NoticeOf(kConsented, until, until - c.left);
    EXPECT_EQ(notice.due, c.due) << c.left;
    EXPECT_EQ(notice.next, c.next == absl::ZeroDuration() ? absl::InfiniteFuture() : until - c.next)
        << c.left;
  }
}

TEST(NoticeOf, FourteenDaysAreAShortConsent) {
  EXPECT_EQ(NoticeOf(kConsented, kConsented + 14 * kDay, kConsented).due, 0)
      << "told of at the moment it is given";
  EXPECT_EQ(NoticeOf(kConsented, kConsented + 14 * kDay, kConsented).next, kConsented + 7 * kDay);
}

}  // namespace
}  // namespace keyturn::lifecycle::oauth

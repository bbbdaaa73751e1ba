// SPDX-License-Identifier: Apache-2.0
// How long a person's consent lasts, when a refresh token must be used so that it does not die of
// idleness, and when people are told that consent ends. Pure.
#pragma once

#include "absl/time/time.h"
#include "agent/lifecycle/ledger.h"

namespace keyturn::lifecycle::oauth {

// InfiniteFuture: never, or nothing is known, or it has ended already.
absl::Time ConsentUntil(const CredentialState& state);
// When the refresh token must have been used again; InfiniteFuture: it may lie as long as it likes.
absl::Time KeepAliveAt(const CredentialState& state);

struct ConsentNotice {
  // How many of the notices are due by now; 0: it is too early for any.
  int due = 0;
  // When the next one is; InfiniteFuture: there is none.
  absl::Time next = absl::InfiniteFuture();
};
// 14, 7, 3 and 1 days before; of a consent that lasts no longer than 14 days, when a half and a
// quarter of it are left.
ConsentNotice NoticeOf(absl::Time since, absl::Time until, absl::Time now);

}  // namespace keyturn::lifecycle::oauth

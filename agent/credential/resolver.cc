// SPDX-License-Identifier: Apache-2.0
#include "agent/credential/resolver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"

namespace keyturn::credential {
namespace {

absl::Status NotFound(absl::string_view name) {
  return base::WithReason(
      absl::NotFoundError(absl::StrCat("there is no credential \"", name, "\"")),
      "NO_SUCH_CREDENTIAL", {{"credential", std::string(name)}});
}

absl::Status TooShort(absl::string_view name, absl::Duration asked, absl::Duration longest) {
  return base::WithReason(
      absl::OutOfRangeError(absl::StrCat(
          "min_remaining ", absl::FormatDuration(asked), " is more than \"", name,
          "\" ever has: its provider gives values of ", absl::FormatDuration(longest))),
      "MIN_REMAINING_TOO_LONG", {{"credential", std::string(name)}});
}

}  // namespace

std::optional<absl::Status> Resolver::TryGet(absl::string_view name, absl::Duration min_remaining,
                                             v1::Credential& out) const {
  std::optional<absl::Status> answer;
  const bool known = snapshot_.Read(name, [&](const SnapshotEntry& entry) {
    if (!entry.unavailable.ok()) {
      answer = entry.unavailable;
    } else if (!entry.is_token && entry.version != 0 && clock_.BootNow() < entry.hard) {
      // A key's expiry is watched, not mended by waiting. (Past `hard`, it is being replaced in
      // place, and that is worth a short wait.)
      if (clock_.BootNow() >= entry.expires) {
        answer = base::WithReason(
            absl::UnavailableError(absl::StrCat("the value of \"", name, "\" has expired")),
            "EXPIRED", {{"credential", std::string(name)}});
      } else if (min_remaining > absl::ZeroDuration() &&
                 entry.expires < clock_.BootNow() + min_remaining) {
        answer = TooShort(name, min_remaining, entry.expires - clock_.BootNow());
      } else {
        snapshot_.Open(entry, out);
        answer = absl::OkStatus();
      }
    } else if (min_remaining > entry.longest_life) {
      answer = TooShort(name, min_remaining, entry.longest_life);
    } else if (entry.version != 0) {
      const base::BootTime now = clock_.BootNow();
      if (now < entry.hard && now + min_remaining <= entry.expires) {
        snapshot_.Open(entry, out);
        answer = absl::OkStatus();
      }
    }
  });
  if (!known) return NotFound(name);
  return answer;
}

void Resolver::Await(const std::string& name, absl::Duration min_remaining, absl::Duration timeout,
                     Done done) {
  // Answer a little before the caller gives up, so that the answer still reaches it.
  const absl::Duration wait = timeout - std::min(timeout / 10, absl::Milliseconds(50));
  freshness_.EnsureFresh(
      name, wait, [this, name, min_remaining, done = std::move(done)](absl::Status flight) mutable {
        v1::Credential credential;
        absl::Status status = Final(name, min_remaining, flight, credential);
        done(std::move(status), std::move(credential));
      });
}

// After the flight: what there is now, as long as it has not expired.
absl::Status Resolver::Final(absl::string_view name, absl::Duration min_remaining,
                             const absl::Status& flight, v1::Credential& out) const {
  absl::Status answer = flight;
  const bool known = snapshot_.Read(name, [&](const SnapshotEntry& entry) {
    if (!entry.unavailable.ok()) {
      answer = entry.unavailable;
      return;
    }
    const base::BootTime now = clock_.BootNow();
    const bool long_enough = entry.version != 0 && now < entry.expires;
    // A caller that asked for more than there is gets the flight's error rather than less.
    if (!long_enough || (!flight.ok() && now + min_remaining > entry.expires)) {
      if (answer.ok()) {
        answer = base::WithRetry(
            base::WithReason(
                absl::UnavailableError(absl::StrCat("no valid value of \"", name, "\"")),
                "REFRESH_FAILED", {{"credential", std::string(name)}}),
            absl::Seconds(1));
      }
      return;
    }
    snapshot_.Open(entry, out);
    out.set_expiring(now >= entry.hard && !flight.ok());
    answer = absl::OkStatus();
  });
  return known ? answer : NotFound(name);
}

}  // namespace keyturn::credential

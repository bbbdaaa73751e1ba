// SPDX-License-Identifier: Apache-2.0
// HostGate: what one authorization server is spared. So many requests a minute, few of them
// retries, none at all for a while once it is down, and those that somebody needs soonest first.
// Pure: time is a parameter, the boot-time clock's, and never runs backwards. Not thread-safe.
// docs/ROTATION.md explains the numbers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "agent/base/clock.h"

namespace keyturn::lifecycle::oauth {

class HostGate {
 public:
  struct Limits {
    // After a burst, so many requests in each `per`.
    int requests = 60;
    absl::Duration per = absl::Seconds(60);
    int burst = 20;
    // So many failures in a row within this time: the host is down.
    int failures = 5;
    absl::Duration failures_within = absl::Seconds(60);
    absl::Duration first_pause = absl::Seconds(30);
    absl::Duration longest_pause = absl::Minutes(5);
    // Of the requests of the last ten minutes, so many may be retries; but so many a minute always.
    double retry_share = 0.10;
    int retries_per_minute = 3;
  };
  struct Wish {
    std::string credential;
    // It follows an attempt that failed.
    bool retry = false;
    // Somebody waits for it.
    bool awaited = false;
    // When the token in hand is no longer handed out without waiting.
    base::BootTime hard;
  };
  struct Permit {
    std::string credential;
    // The one request that finds out whether the host is back.
    bool probe = false;
  };
  enum class Outcome {
    kUp,       // it answered for itself, if only to refuse
    kDown,     // no reply, or that it cannot serve now
    kUnclear,  // somebody between us and the host answered
    kNotSent,  // the permit was not used
  };

  explicit HostGate(Limits limits) : limits_(limits) {}
  HostGate() : HostGate(Limits()) {}

  // Takes the place of an earlier wish of the same credential.
  void Want(Wish wish);
  void Forget(const std::string& credential);
  bool Wants(const std::string& credential) const { return waiting_.count(credential) != 0; }
  // Who may send now. Each permit is followed by one Report.
  std::optional<Permit> Take(base::BootTime now);
  void Report(const Permit& permit, Outcome outcome, base::BootTime now);

  // When Take has an answer at the latest if nothing else happens; InfiniteFuture: not by itself.
  base::BootTime NextAt(base::BootTime now) const;
  bool down() const { return down_; }
  // While it is down: when the next probe may go.
  base::BootTime down_until() const { return down_until_; }

 private:
  struct Waiting {
    Wish wish;
    uint64_t order = 0;
  };
  struct Sent {
    base::BootTime at;
    bool retry = false;
  };

  base::BootTime BucketAt() const;
  base::BootTime RetryAt(base::BootTime now) const;
  const Waiting* First(base::BootTime now) const;
  void GoDown(absl::Duration pause, base::BootTime now);

  const Limits limits_;
  std::map<std::string, Waiting> waiting_;
  uint64_t next_order_ = 1;
  // When the bucket would be full again (the generic cell rate algorithm).
  base::BootTime full_at_;
  // Of the last ten minutes; the bucket bounds how many.
  std::deque<Sent> sent_;
  std::deque<base::BootTime> failures_;
  bool down_ = false;
  bool probing_ = false;
  base::BootTime down_until_;
  absl::Duration pause_ = absl::ZeroDuration();
};

}  // namespace keyturn::lifecycle::oauth

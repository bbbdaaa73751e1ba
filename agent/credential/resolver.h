// SPDX-License-Identifier: Apache-2.0
// Resolver: the read path. TryGet answers from the snapshot: no lock shared with writers, no disk,
// no upstream call. What needs a refresh first is awaited with Await, which joins the one flight
// that is under way. Authorization is the caller's business. Thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/credential/snapshot.h"
#include "agent/lifecycle/freshness.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::credential {

class Resolver {
 public:
  // `done` gets OK and the credential, or an error with its reason (base/error.h).
  using Done = absl::AnyInvocable<void(absl::Status, v1::Credential)>;

  Resolver(const Snapshot& snapshot, lifecycle::Freshness& freshness, const base::Clock& clock)
      : snapshot_(snapshot), freshness_(freshness), clock_(clock) {}

  // nullopt: a valid value exists only after a refresh; call Await. Otherwise OK with `out` filled,
  // or the final error.
  std::optional<absl::Status> TryGet(absl::string_view name, absl::Duration min_remaining,
                                     v1::Credential& out) const;

  // Calls `done` exactly once, from another thread, when the refresh ended or `timeout` is nearly
  // over (then with a value marked expiring if there is still a valid one). The flight goes on
  // whether or not anyone still waits.
  void Await(const std::string& name, absl::Duration min_remaining, absl::Duration timeout,
             Done done);

 private:
  absl::Status Final(absl::string_view name, absl::Duration min_remaining,
                     const absl::Status& flight, v1::Credential& out) const;

  const Snapshot& snapshot_;
  lifecycle::Freshness& freshness_;
  const base::Clock& clock_;
};

}  // namespace keyturn::credential

// SPDX-License-Identifier: Apache-2.0
// The two ways in which the read path and the lifecycle meet. Freshness: make sure a token is valid
// for a while. VersionSink: a new version is to be handed out from now on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/value.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::lifecycle {

class Freshness {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;
  virtual ~Freshness() = default;

  // Joins the refresh of this credential that is under way, or starts the one that all others will
  // join. `done` is called once, on the lifecycle's executor: OK when the flight ended well, else
  // why not; DEADLINE_EXCEEDED after `timeout`, while the flight goes on. Thread-safe.
  virtual void EnsureFresh(std::string name, absl::Duration timeout, Done done) = 0;
};

// What consumers are to be given.
struct PublishedVersion {
  std::string name;
  v1::CredentialKind kind = v1::CREDENTIAL_KIND_UNSPECIFIED;
  uint64_t version = 0;  // 0: the credential exists but has no value yet
  base::CredentialValue value;
  absl::Time expires_wall = absl::InfiniteFuture();
  // The same instant on the clock that cannot be set.
  base::BootTime expires = base::BootTime::InfiniteFuture();
  // From here on a get waits for the refresh. InfiniteFuture: never.
  base::BootTime hard = base::BootTime::InfiniteFuture();
  absl::Time refresh_after = absl::InfiniteFuture();
  // The longest lifetime this credential can be had with; infinite: no limit.
  absl::Duration longest_life = absl::InfiniteDuration();
  // "Bearer" or "DPoP"; empty for what is no token.
  std::string token_type;
  std::string attach_header;
  std::string attach_format;
  // Why there is no value: answered to whoever asks. OK when there is one or a refresh may bring
  // it.
  absl::Status unavailable;
};

class VersionSink {
 public:
  virtual ~VersionSink() = default;
  // Visible to every get that starts after this returned.
  virtual void Publish(const PublishedVersion& version) = 0;
  virtual void Withdraw(absl::string_view name) = 0;
  // The principals that watch the credential at this moment: consumers, however long ago they were
  // given what they have.
  virtual std::vector<std::string> Watching(absl::string_view) const { return {}; }
};

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// Fetches servers' metadata and keeps it for an hour. Callers who want the same issuer at the same
// time share one fetch. Bounded: the oldest issuer makes room. Thread-safe; `done` is called once,
// at once when the answer is at hand, on the HTTP client's thread otherwise, with no lock held.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/clock.h"
#include "agent/net/egress.h"
#include "agent/net/http_client.h"
#include "agent/providers/oauth/metadata.h"

namespace keyturn::providers {

enum class DiscoveryOutcome {
  kFound,
  kUnavailable,  // no reply, or one of a server in trouble
  kNoMetadata,   // nothing of use at either place
  kOtherIssuer,
};

class Discovery : public std::enable_shared_from_this<Discovery> {
 public:
  using Done = absl::AnyInvocable<void(DiscoveryOutcome, const ServerMetadata&)>;

  // What is referred to outlives every fetch. Held by a shared_ptr, which fetches share.
  Discovery(net::HttpClient& http, const net::EgressRules& egress, absl::Duration timeout,
            base::Clock& clock)
      : http_(http), egress_(egress), timeout_(timeout), clock_(clock) {}

  void Get(const std::string& issuer, Done done);

 private:
  struct Kept {
    ServerMetadata metadata;
    base::BootTime until;
  };
  struct Fetch {
    std::vector<std::string> locations;
    size_t next = 0;
    DiscoveryOutcome worst = DiscoveryOutcome::kNoMetadata;
  };

  void FetchNext(const std::string& issuer, std::shared_ptr<Fetch> fetch);
  void OnReply(const std::string& issuer, std::shared_ptr<Fetch> fetch,
               const net::HttpResult& result);
  void Finish(const std::string& issuer, DiscoveryOutcome outcome, ServerMetadata metadata);

  net::HttpClient& http_;
  const net::EgressRules egress_;
  const absl::Duration timeout_;
  base::Clock& clock_;
  absl::Mutex mu_;
  std::map<std::string, Kept> kept_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::vector<Done>> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/discovery.h"

#include <algorithm>
#include <utility>

namespace keyturn::providers {
namespace {

constexpr absl::Duration kKeptFor = absl::Hours(1);
// Metadata that could not be read again counts for so long at a time: a page in its place that a
// firewall shows must not stop what went well until then.
constexpr absl::Duration kKeptOnFor = absl::Minutes(5);
constexpr size_t kIssuersMax = 64;

bool InTrouble(const net::HttpResult& result) {
  return result.delivery != net::Delivery::kAnswered || result.reply.status >= 500 ||
         result.reply.status == 429;
}

}  // namespace

void Discovery::Get(const std::string& issuer, Done done) {
  auto fetch = std::make_shared<Fetch>();
  fetch->locations = MetadataLocations(issuer, egress_);
  if (fetch->locations.empty()) {
    done(DiscoveryOutcome::kNoMetadata, {});
    return;
  }
  ServerMetadata kept;
  {
    absl::ReleasableMutexLock lock(&mu_);
    const auto found = kept_.find(issuer);
    if (found != kept_.end() && clock_.BootNow() < found->second.until) {
      kept = found->second.metadata;
      lock.Release();
      done(DiscoveryOutcome::kFound, kept);
      return;
    }
    std::vector<Done>& waiting = waiting_[issuer];
    waiting.push_back(std::move(done));
    if (waiting.size() > 1) return;
  }
  FetchNext(issuer, std::move(fetch));
}

void Discovery::FetchNext(const std::string& issuer, std::shared_ptr<Fetch> fetch) {
  net::HttpRequest http;
  http.url = fetch->locations[fetch->next++];
  http.headers.emplace_back("Accept", base::Secret("application/json"));
  http.timeout = timeout_;
  http_.Send(std::move(http),
             [self = shared_from_this(), issuer, fetch = std::move(fetch)](
                 const net::HttpResult& result) { self->OnReply(issuer, fetch, result); });
}

void Discovery::OnReply(const std::string& issuer, std::shared_ptr<Fetch> fetch,
                        const net::HttpResult& result) {
  ServerMetadata metadata;
  if (InTrouble(result)) {
    if (fetch->worst == DiscoveryOutcome::kNoMetadata) {
      fetch->worst = DiscoveryOutcome::kUnavailable;
    }
  } else if (result.reply.status == 200) {
    switch (ReadMetadata(result.reply.body, issuer, egress_, metadata)) {
      case MetadataReading::kGood:
        Finish(issuer, DiscoveryOutcome::kFound, metadata);
        return;
      case MetadataReading::kOtherIssuer:
        // Somebody else's document is the gravest that can be found.
        fetch->worst = DiscoveryOutcome::kOtherIssuer;
        break;
      case MetadataReading::kUnreadable:
        break;
    }
  }
  if (fetch->next < fetch->locations.size()) {
    FetchNext(issuer, std::move(fetch));
  } else {
    Finish(issuer, fetch->worst, {});
  }
}

void Discovery::Finish(const std::string& issuer, DiscoveryOutcome outcome,
                       ServerMetadata metadata) {
  std::vector<Done> waiting;
  {
    absl::MutexLock lock(&mu_);
    const auto known = kept_.find(issuer);
    // Not what another issuer says of itself: that is a reason to stop.
    if (known != kept_.end() &&
        (outcome == DiscoveryOutcome::kUnavailable || outcome == DiscoveryOutcome::kNoMetadata)) {
      known->second.until = clock_.BootNow() + kKeptOnFor;
      metadata = known->second.metadata;
      outcome = DiscoveryOutcome::kFound;
    } else if (outcome == DiscoveryOutcome::kFound) {
      if (kept_.size() >= kIssuersMax && kept_.find(issuer) == kept_.end()) {
        kept_.erase(std::min_element(kept_.begin(), kept_.end(), [](const auto& a, const auto& b) {
          return a.second.until < b.second.until;
        }));
      }
      kept_[issuer] = {metadata, clock_.BootNow() + kKeptFor};
    }
    const auto found = waiting_.find(issuer);
    if (found != waiting_.end()) {
      waiting = std::move(found->second);
      waiting_.erase(found);
    }
  }
  for (Done& done : waiting) done(outcome, metadata);
}

}  // namespace keyturn::providers

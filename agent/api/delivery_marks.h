// SPDX-License-Identifier: Apache-2.0
// Tells the lifecycle which versions of API keys the principal of one connection was given. Of
// equal deliveries on a connection only one a minute goes further; the others cost two hashes and
// an atomic load. Thread-safe, takes no lock for them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "agent/api/connection_policy.h"
#include "agent/base/clock.h"
#include "agent/lifecycle/lifecycle.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::api {

class DeliveryMarks {
 public:
  DeliveryMarks(lifecycle::Lifecycle& lifecycle, const base::Clock& clock,
                const ConnectionPolicy& policy)
      : lifecycle_(lifecycle), clock_(clock), policy_(policy) {}

  // Before the credential leaves: what is revoked must not be what is on its way.
  void Given(const v1::Credential& credential);

 private:
  bool IsRepeated(const v1::Credential& credential);

  lifecycle::Lifecycle& lifecycle_;
  const base::Clock& clock_;
  const ConnectionPolicy& policy_;
  // For each name, by its hash: 48 bits of the hash of name and version, 16 bits of the minute of
  // the last mark. Forgetting costs a repeated mark.
  std::array<std::atomic<uint64_t>, 1024> marks_{};
};

}  // namespace keyturn::api

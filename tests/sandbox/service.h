// SPDX-License-Identifier: Apache-2.0
//
// All that the sandbox is, without the network: routes a request to Dify's console, the OAuth
// server or the test controls, counts it, and says which fault is due. One mutex guards the whole
// state; every method may be called from any thread, and none blocks on anything else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <nlohmann/json_fwd.hpp>

#include "tests/sandbox/dify.h"
#include "tests/sandbox/faults.h"
#include "tests/sandbox/oauth.h"
#include "tests/sandbox/options.h"
#include "tests/sandbox/request.h"
#include "tests/sandbox/tokens.h"

namespace keyturn::sandbox {

class Service {
 public:
  explicit Service(const SandboxOptions& options);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  struct Admission {
    std::optional<Fault> fault;
    // Which reset-to-reset life of the state this request belongs to.
    uint64_t epoch = 0;
  };

  // Counts a request that has arrived and uses up the fault that is due for it. The controls
  // under /sandbox/ are neither counted nor faulted: a test must always be able to reach them.
  Admission Admit(const Request& request);

  // The request's effect, and the reply to it.
  Reply Perform(const Request& request, absl::Time now);

  // The effect of a request that was admitted earlier; nothing when a reset came between, so that
  // one test's late effect cannot reach into the next test.
  void PerformLate(const Request& request, uint64_t epoch, absl::Time now);

 private:
  Reply Route(const Request& request, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Reply RouteConsole(const Request& request, const std::vector<std::string>& path, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Reply RouteControl(const Request& request, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Reply PutFaults(const nlohmann::json& body) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Reply SeedGrant(const nlohmann::json& body) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Reply Check(const nlohmann::json& body, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Reply Reset() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<FaultRule> initial_faults_;

  absl::Mutex mutex_;
  TokenSource tokens_ ABSL_GUARDED_BY(mutex_);
  DifyConsole dify_ ABSL_GUARDED_BY(mutex_);
  OauthServer oauth_ ABSL_GUARDED_BY(mutex_);
  FaultTable faults_ ABSL_GUARDED_BY(mutex_);
  // By method and route template.
  std::map<std::string, int64_t> requests_ ABSL_GUARDED_BY(mutex_);
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace keyturn::sandbox

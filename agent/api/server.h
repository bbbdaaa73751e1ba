// SPDX-License-Identifier: Apache-2.0
// The agent's gRPC API as a whole: the services socket with Credentials, the admin socket with
// Credentials, Admin and reflection, health on both. Names no gRPC type, so that agent.cc does not
// depend on gRPC. Thread-safe after Start.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/api/limits.h"
#include "agent/audit/audit_sink.h"
#include "agent/authz/policy_holder.h"
#include "agent/base/clock.h"
#include "agent/credential/resolver.h"
#include "agent/credential/watch_hub.h"
#include "agent/lifecycle/lifecycle.h"
#include "agent/observe/log.h"

namespace keyturn::api {

class Server {
 public:
  struct Options {
    std::string services_path;
    mode_t services_mode = 0666;  // who may do what is policy's business
    std::string admin_path;       // always 0600
    ConnectionLimits services_limits;
    // For Status.
    std::string store_path;
  };
  // All outlive the server; audit and lifecycle also every answer the lifecycle still owes.
  struct Dependencies {
    credential::Resolver& resolver;
    credential::WatchHub& watch_hub;
    lifecycle::Lifecycle& lifecycle;
    const authz::PolicyHolder& policies;
    audit::AuditSink& audit;
    observe::Log& log;
    const base::Clock& clock;
  };

  Server(Options options, const Dependencies& dependencies);
  ~Server();

  // Makes both sockets and serves. Once; an error leaves nothing behind and names the path.
  absl::Status Start();

  // For the services socket. The number of connections is lowered to what the process's limit on
  // open files allows.
  void SetLimits(const ConnectionLimits& limits);

  // Health turns to NOT_SERVING, watches end, calls in progress have `timeout` to end, then they
  // are cancelled. Afterwards the sockets are gone. Idempotent.
  void Drain(absl::Duration timeout);

  size_t connections() const;

 private:
  struct Running;
  ConnectionLimits Affordable(ConnectionLimits limits) const;

  const Options options_;
  const Dependencies dependencies_;
  std::unique_ptr<Running> running_;
};

}  // namespace keyturn::api

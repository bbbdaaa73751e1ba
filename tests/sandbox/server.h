// SPDX-License-Identifier: Apache-2.0
//
// The sandbox on the network: HTTP on 127.0.0.1, a thread per connection, and the faults acted
// out. Start and the destructor are for one thread; requests are served on others. The destructor
// ends open connections, endless bodies and pending late effects, and returns when all threads
// have.
#pragma once

#include <cstdint>
#include <memory>

#include <absl/status/statusor.h>

#include "tests/sandbox/options.h"

namespace keyturn::sandbox {

class Server {
 public:
  virtual ~Server() = default;

  // Listens when this returns. `port` 0 takes any free one.
  // UNAVAILABLE: the port is taken, or the system refuses a socket.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const SandboxOptions& options,
                                                       uint16_t port);

  virtual uint16_t port() const = 0;
  // Blocks until every late effect asked for so far has happened.
  virtual void WaitForLateEffects() = 0;
};

}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
// The process under load. It offers the same Get in three ways on three unix sockets: the agent's
// API over a snapshot, a bare service on one shared gRPC server, and that bare service on one gRPC
// server per connection. The bare service copies one prepared reply of the same size.
#pragma once

#include <string>

namespace keyturn::bench {

struct Sockets {
  explicit Sockets(const std::string& directory)
      : agent(directory + "/agent.sock"),
        admin(directory + "/admin.sock"),
        shared(directory + "/shared.sock"),
        per_connection(directory + "/each.sock") {}
  std::string agent;
  std::string admin;
  std::string shared;
  std::string per_connection;
};

inline constexpr int kCredentials = 10'000;
std::string CredentialName(int index);

// Serves until `control` reads as closed; writes one byte to it when all sockets are there. To be
// called in a process that has not touched gRPC before.
void ServeUntilClosed(const Sockets& sockets, int control);

}  // namespace keyturn::bench

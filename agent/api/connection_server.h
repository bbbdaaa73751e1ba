// SPDX-License-Identifier: Apache-2.0
// The gRPC server of one connection: no port of its own, one socket that it is given, and services
// that were made for the caller at the other end. It is the only place that uses gRPC's
// experimental calls (AddInsecureChannelFromFd, the choice of builder plugins). Thread-safe where a
// method says so.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <vector>

#include "absl/time/time.h"

namespace keyturn::api {

// What one connection is served with. Outlives every call on it.
class PeerServices {
 public:
  virtual ~PeerServices() = default;
  // Callback services; owned by this object.
  virtual std::vector<grpc::Service*> All() = 0;
  // Ends the streams that would never end by themselves. Thread-safe.
  virtual void EndStreams() {}
};

struct ConnectionSettings {
  int receive_bytes_max = 64 * 1024;
  int concurrent_calls_max = 256;
  // A connection without calls is closed after this long; nothing else ends a silent peer.
  absl::Duration idle_max = absl::Minutes(10);
  // Server reflection; it costs each connection threads of its own.
  bool reflection = false;
};

class ConnectionServer {
 public:
  // Takes `fd`, a connected, non-blocking socket, in every case. Null when gRPC refuses to start.
  static std::unique_ptr<ConnectionServer> Start(int fd, std::unique_ptr<PeerServices> services,
                                                 const ConnectionSettings& settings);
  // Cuts off what is still going on.
  ~ConnectionServer();
  ConnectionServer(const ConnectionServer&) = delete;
  ConnectionServer& operator=(const ConnectionServer&) = delete;

  // Health turns to NOT_SERVING and endless streams end. Thread-safe.
  void BeginDrain();
  // No new calls; waits for those in progress, which are cancelled at `deadline`. Once.
  void Shutdown(absl::Time deadline);

 private:
  ConnectionServer(std::unique_ptr<PeerServices> services, std::unique_ptr<grpc::Server> server);

  const std::unique_ptr<PeerServices> services_;
  const std::unique_ptr<grpc::Server> server_;
  bool is_shut_ = false;
};

}  // namespace keyturn::api

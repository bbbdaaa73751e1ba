// SPDX-License-Identifier: Apache-2.0
// Connection: one gRPC channel to the agent's unix socket, with a deadline on every call and with
// patience where it helps: for an agent that restarts, and for a listen backlog that is full, which
// the kernel answers at once with an error. Thread-safe. Private to the client.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/lib/status_details.h"

namespace keyturn::client {

// Between attempts: doubles with each, and never the same for two clients.
absl::Duration BackoffWithJitter(int attempt, absl::Duration first, absl::Duration last);

class Connection {
 public:
  static absl::StatusOr<std::unique_ptr<Connection>> Make(std::string socket_path,
                                                          absl::Duration connect_timeout);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::string& socket_path() const { return socket_path_; }

  // Returns once calls can be made, or with Unreachable after the connect timeout or at `deadline`.
  absl::Status EnsureConnected(absl::Time deadline);

  // Makes one unary call by `call(context, reply)`. A repeatable call that was cut off is made
  // again until the deadline; one that changes something is not, since it may have taken effect.
  template <typename Reply, typename CallFunction>
  absl::StatusOr<Reply> Call(absl::Duration timeout, bool repeatable, CallFunction call) {
    const absl::Time deadline = absl::Now() + timeout;
    for (int attempt = 0;; ++attempt) {
      if (absl::Status connected = EnsureConnected(deadline); !connected.ok()) return connected;
      grpc::ClientContext context;
      Prepare(context, deadline);
      Reply reply;
      absl::Status status = FromGrpc(call(&context, &reply));
      if (status.ok()) return reply;
      if (!repeatable || !MayRepeat(status, attempt, deadline)) return Explain(status);
    }
  }

  static void Prepare(grpc::ClientContext& context, absl::Time deadline);
  // An UNAVAILABLE that the agent did not send says what is wrong with the socket instead.
  absl::Status Explain(const absl::Status& status) const;

 private:
  Connection(std::string socket_path, absl::Duration connect_timeout);
  // Waits a little when another attempt can help.
  static bool MayRepeat(const absl::Status& status, int attempt, absl::Time deadline);

  const std::string socket_path_;
  const absl::Duration connect_timeout_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace keyturn::client

// SPDX-License-Identifier: Apache-2.0
// PluginLine: the calls to one plugin, over the one connection to its present process, when there
// is one. Every call is answered exactly once, never from within itself, and says whether the
// plugin can have seen it. Thread-safe. Outlives its calls: WaitIdle before it is destroyed.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/base/executor.h"
#include "agent/providers/plugin/messages.h"
#include "keyturn/plugin/v1/provider.grpc.pb.h"

namespace keyturn::providers {

enum class PluginReply {
  kNotSent,  // the plugin is down and has not seen the call
  kLost,     // it may have seen it, and may have done it
  kArrived,
};

class PluginLine {
 public:
  using Async = plugin::v1::Provider::StubInterface::async_interface;
  template <class Request, class Response>
  using Method = void (Async::*)(grpc::ClientContext*, const Request*, Response*,
                                 std::function<void(grpc::Status)>);
  // The cause is one of ours unless the reply arrived. The response is wiped afterwards.
  template <class Response>
  using Done = absl::AnyInvocable<void(PluginReply, const char* cause, const Response&)>;

  // The executor runs the answers to calls that could not be sent.
  PluginLine(base::Executor& executor, absl::Duration timeout)
      : executor_(executor), timeout_(timeout) {}

  // Takes over a connected, non-blocking socket. `on_hang` is called, from any thread, when three
  // calls in a row have got no answer in their time.
  void Attach(int fd, std::function<void()> on_hang);
  // New calls are answered with kNotSent; those under way end, at the latest, with the plugin.
  void Detach();
  bool attached() const;
  // Until all calls are answered.
  void WaitIdle();
  absl::Duration timeout() const { return timeout_; }

  template <class Request, class Response>
  void Call(Method<Request, Response> method, Request request, absl::Duration timeout,
            Done<Response> done);

 private:
  struct Connection {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<plugin::v1::Provider::Stub> stub;
    std::function<void()> on_hang;
    std::atomic<int> timeouts{0};
  };
  template <class Request, class Response>
  struct Exchange {
    std::shared_ptr<Connection> connection;
    grpc::ClientContext context;
    Request request;
    Response response;
    Done<Response> done;
  };

  std::shared_ptr<Connection> Begin();
  void End();
  static const char* CauseOf(const grpc::Status& status);
  static void Count(Connection& connection, const grpc::Status& status);

  base::Executor& executor_;
  const absl::Duration timeout_;
  mutable absl::Mutex mu_;
  std::shared_ptr<Connection> connection_ ABSL_GUARDED_BY(mu_);
  int under_way_ ABSL_GUARDED_BY(mu_) = 0;
};

template <class Request, class Response>
void PluginLine::Call(Method<Request, Response> method, Request request, absl::Duration timeout,
                      Done<Response> done) {
  std::shared_ptr<Connection> connection = Begin();
  if (connection == nullptr) {
    WipeSecrets(&request);
    executor_.Post([done = std::move(done)]() mutable {
      done(PluginReply::kNotSent, "plugin_down", Response());
    });
    return;
  }
  auto* exchange = new Exchange<Request, Response>();
  exchange->connection = std::move(connection);
  exchange->request = std::move(request);
  exchange->done = std::move(done);
  exchange->context.set_deadline(
      gpr_time_from_millis(absl::ToInt64Milliseconds(timeout), GPR_TIMESPAN));
  (exchange->connection->stub->async()->*method)(
      &exchange->context, &exchange->request, &exchange->response,
      [this, exchange](const grpc::Status& status) {
        WipeSecrets(&exchange->request);
        Count(*exchange->connection, status);
        exchange->done(status.ok() ? PluginReply::kArrived : PluginReply::kLost, CauseOf(status),
                       exchange->response);
        WipeSecrets(&exchange->response);
        exchange->done = nullptr;
        // The last use of a channel must not end on a thread of gRPC, which would wait for itself.
        executor_.Post([owned = std::unique_ptr<Exchange<Request, Response>>(exchange)] {});
        End();
      });
}

}  // namespace keyturn::providers

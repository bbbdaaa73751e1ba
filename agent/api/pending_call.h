// SPDX-License-Identifier: Apache-2.0
// A unary call that somebody else will answer from another thread. The caller may leave, the answer
// may come late: whichever comes first claims the call, the other finds it claimed and must not
// touch anything of it. Thread-safe.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <utility>

namespace keyturn::api {

class PendingCall final : public grpc::ServerUnaryReactor {
 private:
  struct State {
    explicit State(PendingCall* of) : call(of) {}
    std::atomic<bool> is_claimed{false};
    PendingCall* const call;
  };

 public:
  // Held by whoever is to answer; may outlive the call.
  class Handle {
   public:
    // True for one of all who ask. Until that one calls Finish, the call with its request, response
    // and service stays alive.
    bool Claim() const { return !state_->is_claimed.exchange(true); }
    // For the one who claimed. Nothing of the call may be touched afterwards.
    void Finish(grpc::Status status) const { state_->call->Finish(std::move(status)); }

   private:
    friend class PendingCall;
    explicit Handle(std::shared_ptr<State> state) : state_(std::move(state)) {}
    std::shared_ptr<State> state_;
  };

  // Deletes itself when the call is over.
  PendingCall() : state_(std::make_shared<State>(this)) {}
  Handle handle() const { return Handle(state_); }

 private:
  void OnCancel() override {
    if (!state_->is_claimed.exchange(true)) Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

  const std::shared_ptr<State> state_;
};

// A stream that was refused.
template <class Response>
class RefusedStream final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedStream(grpc::Status status) { this->Finish(std::move(status)); }

 private:
  void OnDone() override { delete this; }
};

}  // namespace keyturn::api

// SPDX-License-Identifier: Apache-2.0
#include "agent/api/rotate_call.h"

#include <utility>

#include "agent/api/pending_call.h"
#include "agent/api/status_mapping.h"

namespace keyturn::api {
namespace {
// A rotation enters about ten states; retries add some. A reader that slow loses the oldest.
constexpr size_t kStepsMax = 64;
}  // namespace

grpc::ServerWriteReactor<v1::RotateResponse>* RotateCall::Start(OpenStreams& streams,
                                                                lifecycle::Lifecycle& lifecycle,
                                                                audit::AuditSink& audit,
                                                                audit::Event event,
                                                                const v1::RotateRequest& request) {
  std::shared_ptr<RotateCall> call(new RotateCall(streams));
  if (!streams.Add(call)) return new RefusedStream<v1::RotateResponse>(ToGrpc(Stopping()));
  call->self_ = call;
  lifecycle.Rotate(
      request, [call](v1::RotateResponse step) { call->Step(std::move(step)); },
      [call, &audit, event = std::move(event),
       is_change = !request.dry_run()](absl::Status status) mutable {
        event.result = absl::StatusCodeToString(status.code());
        if (is_change) audit.Record(event);
        call->EndWith(std::move(status), /*at_once=*/false);
      });
  return call.get();
}

void RotateCall::Step(v1::RotateResponse step) {
  {
    absl::MutexLock lock(&mu_);
    if (is_over_ || end_.has_value()) return;
    if (steps_.size() >= kStepsMax) steps_.pop_front();
    steps_.push_back(std::move(step));
    if (std::exchange(is_writing_, true)) return;
  }
  Next();
}

void RotateCall::EndWith(absl::Status status, bool at_once) {
  {
    absl::MutexLock lock(&mu_);
    if (is_over_) return;
    if (at_once) steps_.clear();
    if (at_once || !end_.has_value()) end_ = std::move(status);
    if (std::exchange(is_writing_, true)) return;
  }
  Next();
}

void RotateCall::End() { EndWith(Stopping(), /*at_once=*/true); }
void RotateCall::OnCancel() { EndWith(absl::CancelledError("the caller left"), /*at_once=*/true); }

void RotateCall::OnWriteDone(bool ok) {
  if (!ok) {
    absl::MutexLock lock(&mu_);
    steps_.clear();
    end_ = absl::CancelledError("the caller left");
  }
  Next();
}

void RotateCall::Next() {
  std::optional<absl::Status> end;
  {
    absl::MutexLock lock(&mu_);
    if (!steps_.empty()) {
      response_ = std::move(steps_.front());
      steps_.pop_front();
    } else if (end_.has_value()) {
      end = std::move(end_);
      is_over_ = true;  // and the right to write stays taken
    } else {
      is_writing_ = false;
      return;
    }
  }
  if (end.has_value()) {
    Finish(ToGrpc(*end));
  } else {
    StartWrite(&response_);
  }
}

void RotateCall::OnDone() {
  streams_.Remove(self_);
  self_.reset();
}

}  // namespace keyturn::api

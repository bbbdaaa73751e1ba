// SPDX-License-Identifier: Apache-2.0
// One open Admin.Rotate: sends the states a rotation enters, then how it ended. The lifecycle holds
// a reference of its own and may report to a stream whose caller has left: that is dropped, but the
// outcome is recorded all the same. Thread-safe.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/api/open_streams.h"
#include "agent/audit/audit_sink.h"
#include "agent/lifecycle/lifecycle.h"
#include "keyturn/v1/admin.pb.h"

namespace keyturn::api {

class RotateCall final : public grpc::ServerWriteReactor<v1::RotateResponse>, public EndableStream {
 public:
  static grpc::ServerWriteReactor<v1::RotateResponse>* Start(OpenStreams& streams,
                                                             lifecycle::Lifecycle& lifecycle,
                                                             audit::AuditSink& audit,
                                                             audit::Event event,
                                                             const v1::RotateRequest& request);
  void End() override;

 private:
  explicit RotateCall(OpenStreams& streams) : streams_(streams) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Step(v1::RotateResponse step);
  // The first one counts. `at_once`: steps that are still to be sent are dropped.
  void EndWith(absl::Status status, bool at_once);
  // For whoever holds the right to write.
  void Next();

  OpenStreams& streams_;
  std::shared_ptr<RotateCall> self_;
  v1::RotateResponse response_;

  absl::Mutex mu_;
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_over_ ABSL_GUARDED_BY(mu_) = false;  // Finish was called
  std::deque<v1::RotateResponse> steps_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::api

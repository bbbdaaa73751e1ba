// SPDX-License-Identifier: Apache-2.0
// A server's stream of messages that come from elsewhere: they wait here until the caller has taken
// those before. Whoever sends holds a reference of its own and may send to a stream whose caller
// has left: that is dropped. Thread-safe.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/api/open_streams.h"
#include "agent/api/pending_call.h"
#include "agent/api/status_mapping.h"

namespace keyturn::api {

template <class Message>
class SentStream final : public grpc::ServerWriteReactor<Message>, public EndableStream {
 public:
  // Null when no stream may begin any more. `most` messages wait; a reader slower than that loses
  // the oldest.
  static std::shared_ptr<SentStream> Begin(OpenStreams& streams, size_t most) {
    std::shared_ptr<SentStream> stream(new SentStream(streams, most));
    if (!streams.Add(stream)) return nullptr;
    stream->self_ = stream;
    return stream;
  }

  void Send(Message message) {
    {
      absl::MutexLock lock(&mu_);
      if (is_over_ || end_.has_value()) return;
      if (waiting_.size() >= most_) waiting_.pop_front();
      waiting_.push_back(std::move(message));
      if (std::exchange(is_writing_, true)) return;
    }
    Next();
  }
  // Once all that waits has been taken.
  void EndWith(absl::Status status) { EndWith(std::move(status), /*at_once=*/false); }
  void End() override { EndWith(Stopping(), /*at_once=*/true); }

 private:
  SentStream(OpenStreams& streams, size_t most) : streams_(streams), most_(most) {}

  // The first one counts. `at_once`: what waits is dropped.
  void EndWith(absl::Status status, bool at_once) {
    {
      absl::MutexLock lock(&mu_);
      if (is_over_) return;
      if (at_once) waiting_.clear();
      if (at_once || !end_.has_value()) end_ = std::move(status);
      if (std::exchange(is_writing_, true)) return;
    }
    Next();
  }

  void OnCancel() override { EndWith(absl::CancelledError("the caller left"), /*at_once=*/true); }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      absl::MutexLock lock(&mu_);
      waiting_.clear();
      end_ = absl::CancelledError("the caller left");
    }
    Next();
  }

  void OnDone() override {
    streams_.Remove(self_);
    self_.reset();
  }

  // For whoever holds the right to write.
  void Next() {
    std::optional<absl::Status> end;
    {
      absl::MutexLock lock(&mu_);
      if (!waiting_.empty()) {
        message_ = std::move(waiting_.front());
        waiting_.pop_front();
      } else if (end_.has_value()) {
        end = std::move(end_);
        is_over_ = true;  // and the right to write stays taken
      } else {
        is_writing_ = false;
        return;
      }
    }
    if (end.has_value()) {
      this->Finish(ToGrpc(*end));
    } else {
      this->StartWrite(&message_);
    }
  }

  OpenStreams& streams_;
  const size_t most_;
  std::shared_ptr<SentStream> self_;
  Message message_;

  absl::Mutex mu_;
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_over_ ABSL_GUARDED_BY(mu_) = false;  // Finish was called
  std::deque<Message> waiting_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::api

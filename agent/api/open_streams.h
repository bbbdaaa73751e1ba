// SPDX-License-Identifier: Apache-2.0
// The streams of one connection that are open, so that they can be told to end when the agent
// stops. Thread-safe.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"

namespace keyturn::api {

// A stream that somebody may end from outside; does nothing when it has ended already.
class EndableStream {
 public:
  virtual ~EndableStream() = default;
  virtual void End() = 0;
};

class OpenStreams {
 public:
  // False after EndAll: the stream must not start.
  bool Add(std::shared_ptr<EndableStream> stream) {
    absl::MutexLock lock(&mu_);
    if (is_ended_) return false;
    streams_.insert(std::move(stream));
    return true;
  }
  void Remove(const std::shared_ptr<EndableStream>& stream) {
    absl::MutexLock lock(&mu_);
    streams_.erase(stream);
  }
  void EndAll() {
    absl::flat_hash_set<std::shared_ptr<EndableStream>> streams;
    {
      absl::MutexLock lock(&mu_);
      is_ended_ = true;
      streams = streams_;
    }
    for (const auto& stream : streams) stream->End();
  }

 private:
  absl::Mutex mu_;
  bool is_ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<std::shared_ptr<EndableStream>> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::api

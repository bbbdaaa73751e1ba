// SPDX-License-Identifier: Apache-2.0
// The watch's thread. All state but `stopping` and `context` belongs to that thread alone; those
// two are what the handle's destructor needs to end it. No lock is held while a callback runs.
#include "client/lib/watch.h"

#include <algorithm>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/lib/messages.h"
#include "keyturn/v1/credentials.grpc.pb.h"

namespace keyturn::client {
namespace {

constexpr absl::Duration kConnectSlice = absl::Milliseconds(500);

// Errors that asking again soon cannot change.
bool IsRefusal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

class Watcher {
 public:
  Watcher(std::shared_ptr<Connection> connection, Client* client, std::vector<std::string> names,
          std::function<void(WatchEvent)> callback, WatchOptions options)
      : connection_(std::move(connection)),
        client_(client),
        stub_(v1::Credentials::NewStub(connection_->channel())),
        names_(std::move(names)),
        callback_(std::move(callback)),
        options_(std::move(options)),
        seen_(options_.seen) {}

  void Run() {
    int attempt = 0;
    while (!Stopping()) {
      heard_ = false;
      absl::Status status = Follow(names_, absl::InfiniteFuture());
      if (IsRefusal(status)) {
        if (!options_.keep_going_when_refused) {
          Tell({WatchEvent::Type::kEnded, "", {}, std::move(status)});
          return;
        }
        status = FollowAllowed(status);
      }
      if (Stopping()) return;
      attempt = heard_ ? 0 : attempt + 1;
      if (heard_) outage_told_ = false;
      if (!absl::IsDeadlineExceeded(status) && !outage_told_) {
        outage_told_ = true;
        Tell({WatchEvent::Type::kDisconnected, "", {}, std::move(status)});
      }
      Pause(BackoffWithJitter(attempt, options_.first_backoff, options_.last_backoff));
    }
  }

  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }

 private:
  // One stream, from its start to its end.
  absl::Status Follow(const std::vector<std::string>& names, absl::Time until) {
    // Without connecting first, a stream to nobody would wait in silence. Briefly, so that the
    // handle's destructor need not wait long: the caller's loop is what is patient here.
    const absl::Time soon = std::min(until, absl::Now() + kConnectSlice);
    if (absl::Status connected = connection_->EnsureConnected(soon); !connected.ok()) {
      return connected;
    }
    v1::WatchRequest request;
    for (const std::string& name : names) {
      request.add_names(name);
      const auto version = seen_.find(name);
      if (version != seen_.end()) (*request.mutable_seen())[name] = version->second;
    }
    grpc::ClientContext context;
    Connection::Prepare(context, until);
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return absl::CancelledError("the watch has ended");
      context_ = &context;
    }
    const auto reader = stub_->Watch(&context, request);
    v1::WatchResponse response;
    while (reader->Read(&response)) {
      heard_ = true;
      Handle(response);
    }
    {
      absl::MutexLock lock(&mutex_);
      context_ = nullptr;
    }
    const absl::Status status = FromGrpc(reader->Finish());
    // An agent that shuts down ends the stream without an error: it is gone all the same.
    if (status.ok()) return absl::UnavailableError("the agent ended the watch");
    return connection_->Explain(status);
  }

  // Finds out which names are refused, tells of them once, and follows the others for a while.
  absl::Status FollowAllowed(const absl::Status& refusal) {
    auto results = client_->BatchGet(names_);
    if (!results.ok()) {
      Pause(std::min(options_.retry_refused_after, options_.last_backoff));
      return refusal;
    }
    std::vector<std::string> allowed;
    for (size_t i = 0; i < names_.size() && i < results->size(); ++i) {
      const absl::Status& status = (*results)[i].status();
      if (!IsRefusal(status)) {
        allowed.push_back(names_[i]);
        refused_.erase(names_[i]);
        continue;
      }
      seen_.erase(names_[i]);
      if (refused_.insert(names_[i]).second) {
        Tell({WatchEvent::Type::kRefused, names_[i], {}, status});
      }
    }
    if (!allowed.empty() && allowed.size() < names_.size()) {
      return Follow(allowed, absl::Now() + options_.retry_refused_after);
    }
    if (allowed.empty()) {
      Pause(options_.retry_refused_after);
      // Nobody went away: the next round asks again.
      return absl::DeadlineExceededError("all names are refused");
    }
    return refusal;
  }

  void Handle(v1::WatchResponse& response) {
    switch (response.event_case()) {
      case v1::WatchResponse::kCredential: {
        Credential credential = TakeCredential(*response.mutable_credential());
        seen_[credential.name] = credential.version;
        refused_.erase(credential.name);
        std::string name = credential.name;
        Tell({WatchEvent::Type::kValue, std::move(name), std::move(credential), {}});
        break;
      }
      case v1::WatchResponse::kSynced:
        Tell({WatchEvent::Type::kSynced, "", {}, {}});
        break;
      case v1::WatchResponse::kDeleted:
        seen_.erase(response.deleted().name());
        Tell({WatchEvent::Type::kDeleted, response.deleted().name(), {}, {}});
        break;
      case v1::WatchResponse::EVENT_NOT_SET:
        break;  // an event newer than this library
    }
  }

  void Tell(WatchEvent event) {
    if (!Stopping()) callback_(std::move(event));
  }

  bool Stopping() {
    absl::MutexLock lock(&mutex_);
    return stopping_;
  }

  void Pause(absl::Duration duration) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&stopping_), duration);
  }

  const std::shared_ptr<Connection> connection_;
  Client* const client_;
  const std::unique_ptr<v1::Credentials::Stub> stub_;
  const std::vector<std::string> names_;
  const std::function<void(WatchEvent)> callback_;
  const WatchOptions options_;
  std::map<std::string, uint64_t> seen_;
  std::set<std::string> refused_;
  // Whether the stream at hand has brought anything.
  bool heard_ = false;
  // One outage is told of once, however many attempts it takes.
  bool outage_told_ = false;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // The stream that runs, for TryCancel.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

class ThreadHandle final : public WatchHandle {
 public:
  explicit ThreadHandle(std::shared_ptr<Watcher> watcher)
      : watcher_(std::move(watcher)), thread_([watcher = watcher_] { watcher->Run(); }) {}

  ~ThreadHandle() override {
    watcher_->Stop();
    if (thread_.get_id() == std::this_thread::get_id()) {
      thread_.detach();  // a callback gave up its own watch: the thread ends after it
    } else {
      thread_.join();
    }
  }

 private:
  const std::shared_ptr<Watcher> watcher_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<WatchHandle> StartWatch(std::shared_ptr<Connection> connection, Client* client,
                                        std::vector<std::string> names,
                                        std::function<void(WatchEvent)> callback,
                                        WatchOptions options) {
  return std::make_unique<ThreadHandle>(std::make_shared<Watcher>(
      std::move(connection), client, std::move(names), std::move(callback), std::move(options)));
}

}  // namespace keyturn::client

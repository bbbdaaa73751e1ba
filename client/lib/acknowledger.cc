// SPDX-License-Identifier: Apache-2.0
#include "client/lib/acknowledger.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace keyturn::client {
namespace {

constexpr absl::Duration kCallTimeout = absl::Seconds(1);
constexpr absl::Duration kFirstRetry = absl::Seconds(1);
constexpr absl::Duration kLastRetry = absl::Seconds(30);

bool MayWorkLater(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

struct Acknowledger::State {
  struct Use {
    std::map<uint64_t, int> alive;  // version -> values of it
    uint64_t read = 0;
    uint64_t said = 0;

    bool Due() const {
      return read != said && (alive.empty() || (alive.size() == 1 && alive.count(read) == 1));
    }
  };

  explicit State(std::shared_ptr<Client> of) : client(std::move(of)) {}

  bool Awake() const ABSL_SHARED_LOCKS_REQUIRED(mutex) {
    return stopping ||
           std::any_of(uses.begin(), uses.end(), [](const auto& use) { return use.second.Due(); });
  }

  void Gone(const std::string& name, uint64_t version) {
    absl::MutexLock lock(&mutex);
    Use& use = uses[name];
    if (--use.alive[version] == 0) use.alive.erase(version);
  }

  void Run() {
    absl::Duration retry = kFirstRetry;
    for (;;) {
      std::string name;
      uint64_t version = 0;
      {
        absl::MutexLock lock(&mutex);
        mutex.Await(absl::Condition(this, &State::Awake));
        if (stopping) return;
        const auto due = std::find_if(uses.begin(), uses.end(),
                                      [](const auto& use) { return use.second.Due(); });
        name = due->first;
        version = due->second.read;
      }
      const absl::Status status = client->Acknowledge(name, version, kCallTimeout).status();
      absl::MutexLock lock(&mutex);
      if (MayWorkLater(status)) {
        mutex.AwaitWithTimeout(absl::Condition(&stopping), retry);
        retry = std::min(retry * 2, kLastRetry);
        continue;
      }
      // An agent that does not know the call, or refuses it, is not asked for this version again.
      retry = kFirstRetry;
      uses[name].said = version;
    }
  }

  const std::shared_ptr<Client> client;
  absl::Mutex mutex;
  std::map<std::string, Use> uses ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
};

Acknowledger::Acknowledger(std::shared_ptr<Client> client)
    : state_(std::make_shared<State>(std::move(client))),
      thread_([state = state_] { state->Run(); }) {}

Acknowledger::~Acknowledger() {
  {
    absl::MutexLock lock(&state_->mutex);
    state_->stopping = true;
  }
  thread_.join();
}

std::shared_ptr<const Credential> Acknowledger::Count(Credential credential) {
  {
    absl::MutexLock lock(&state_->mutex);
    ++state_->uses[credential.name].alive[credential.version];
  }
  return std::shared_ptr<const Credential>(new Credential(std::move(credential)),
                                           [state = state_](const Credential* value) {
                                             const std::string name = value->name;
                                             const uint64_t version = value->version;
                                             delete value;
                                             state->Gone(name, version);
                                           });
}

void Acknowledger::Read(const std::string& name, uint64_t version) {
  absl::MutexLock lock(&state_->mutex);
  state_->uses[name].read = version;
}

void Acknowledger::SayAgain() {
  absl::MutexLock lock(&state_->mutex);
  for (auto& [name, use] : state_->uses) use.said = 0;
}

}  // namespace keyturn::client

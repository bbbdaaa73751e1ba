// SPDX-License-Identifier: Apache-2.0
// CachedCredentials: a set of named credentials kept in memory and kept fresh by one Watch, so that
// asking costs a map lookup instead of a call. While the agent is away, the last values are served
// until they expire. A version of an API key that has been read is acknowledged to the agent once
// no value of another version is held any more, so that a rotation which waits for its consumers
// need not wait longer than it must. To the agent that speaks for the whole process: use one
// CachedCredentials in a process, or at least no name in two, else the one that moves on first ends
// the grace of the other. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "keyturn/client.h"

namespace keyturn {

namespace client {
class Acknowledger;
}

struct CacheOptions {
  // For the calls that Current() makes when it has nothing valid.
  GetOptions get = {};
  WatchOptions watch = {};
  // False for a process that keeps copies of values: to the agent it has moved on when it is sent a
  // new version, unless it says otherwise with Client::Acknowledge.
  bool acknowledge = true;
  // The time of day; tests give their own.
  std::function<absl::Time()> now = [] { return absl::Now(); };
};

class CachedCredentials {
 public:
  // Starts the watch; does not wait for it. At most 100 names.
  CachedCredentials(std::shared_ptr<Client> client, std::vector<std::string> names,
                    CacheOptions options = {});
  // Ends the watch and forgets the values; those still held by callers live on with them.
  ~CachedCredentials();

  CachedCredentials(const CachedCredentials&) = delete;
  CachedCredentials& operator=(const CachedCredentials&) = delete;

  // The newest value known. Without a call when it is in memory and has not expired; else as
  // Client::Get, with its errors. Names outside the set are always a call. Hold the result for one
  // request, not for longer: the next one may have a newer value, and while it is held the old key
  // is not given up.
  absl::StatusOr<std::shared_ptr<const Credential>> Current(const std::string& name);

  // True once the first values have all been told, false again while the agent is away.
  bool Synced() const;

 private:
  struct Slot {
    mutable absl::Mutex mutex;
    std::shared_ptr<const Credential> value ABSL_GUARDED_BY(mutex);
    std::atomic<uint64_t> read{0};  // the last version that was handed to a caller
  };

  void OnEvent(WatchEvent event);
  std::shared_ptr<const Credential> Counted(Credential credential);
  std::shared_ptr<const Credential> HandOut(Slot& slot, std::shared_ptr<const Credential> value);
  // Keeps the newer of what the slot has and `value`; returns what it has then.
  static std::shared_ptr<const Credential> Keep(Slot& slot,
                                                std::shared_ptr<const Credential> value);

  const std::shared_ptr<Client> client_;
  const CacheOptions options_;
  // Null when nothing is acknowledged.
  const std::unique_ptr<client::Acknowledger> acknowledger_;
  // Filled by the constructor and never changed after: looked up without a lock.
  absl::flat_hash_map<std::string, std::unique_ptr<Slot>> slots_;
  mutable absl::Mutex mutex_;
  bool synced_ ABSL_GUARDED_BY(mutex_) = false;
  // Last: its destructor ends the callbacks before anything they use goes.
  std::unique_ptr<WatchHandle> watch_;
};

}  // namespace keyturn

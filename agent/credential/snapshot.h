// SPDX-License-Identifier: Apache-2.0
// Snapshot: what reads are answered from. Many small immutable shards; a writer replaces one shard,
// a reader keeps a thread-local reference to the shard it last saw and looks at one atomic number
// to learn whether it still holds. Values lie here encrypted under a key of this process and are
// opened per reply. Thread-safe; a read takes no lock unless its shard changed since this thread's
// last read.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/crypto/memory_sealer.h"
#include "agent/lifecycle/freshness.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::credential {

// One credential as it is to be handed out. Immutable.
struct SnapshotEntry {
  uint64_t version = 0;
  base::BootTime expires = base::BootTime::InfiniteFuture();
  base::BootTime hard = base::BootTime::InfiniteFuture();
  absl::Duration longest_life = absl::InfiniteDuration();
  absl::Status unavailable;  // when version is 0
  // keyturn.v1.Credential, serialized, then sealed. Empty when version is 0.
  std::string sealed_reply;
  bool is_token = false;
};

class Snapshot {
 public:
  Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Calls `visit(entry)` and returns true when the name is known.
  template <class Visit>
  bool Read(absl::string_view name, Visit&& visit) const {
    const ShardMap& shard = CurrentShard(ShardOf(name));
    const auto found = shard.find(name);
    if (found == shard.end()) return false;
    visit(*found->second);
    return true;
  }

  // Opens an entry's reply into `out`; the plaintext in between is wiped.
  void Open(const SnapshotEntry& entry, v1::Credential& out) const;

  void Put(const lifecycle::PublishedVersion& version);
  void Remove(absl::string_view name);

 private:
  static constexpr size_t kShards = 256;
  using ShardMap = absl::flat_hash_map<std::string, std::shared_ptr<const SnapshotEntry>>;
  struct Shard {
    std::atomic<uint64_t> generation{1};
    mutable absl::Mutex mu;
    std::shared_ptr<const ShardMap> map ABSL_GUARDED_BY(mu) = std::make_shared<const ShardMap>();
  };
  // What a thread last saw of each shard of one snapshot.
  struct ThreadView;

  static size_t ShardOf(absl::string_view name);
  const ShardMap& CurrentShard(size_t index) const;
  template <class Change>
  void Update(absl::string_view name, Change&& change);

  const uint64_t id_;  // tells snapshots apart in ThreadView, also when an address is used again
  crypto::MemorySealer sealer_;
  std::array<Shard, kShards> shards_;
};

}  // namespace keyturn::credential

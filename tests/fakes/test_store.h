// SPDX-License-Identifier: Apache-2.0
// A real SealedStore over a memory backend that can be made to fail, for tests above the store.
// Restart() gives what a new process would find. Used from one thread, as a Store is.
#pragma once

#include <cstdint>
#include <memory>

#include "agent/store/sealed_store.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/faulty_backend.h"
#include "tests/fakes/fixed_kek_source.h"
#include "tests/fakes/memory_anchor.h"
#include "tests/fakes/memory_backend.h"
#include "tests/fakes/seeded_random.h"

namespace keyturn::fakes {

class TestStore {
 public:
  explicit TestStore(uint64_t seed = 1);

  // Valid until Restart.
  store::SealedStore& store() { return *store_; }
  FaultyBackend& faults() { return faulty_; }
  MemoryBackend& backend() { return memory_; }
  MemoryAnchor& anchor() { return anchor_; }

  // Drops the store and opens it anew over the same rows, faults and all. LoadAll is the caller's.
  store::SealedStore& Restart();

 private:
  MemoryBackend memory_;
  FaultyBackend faulty_{memory_};
  MemoryAnchor anchor_;
  FixedKekSource kek_;
  SeededRandom random_;
  std::unique_ptr<store::SealedStore> store_;
};

}  // namespace keyturn::fakes

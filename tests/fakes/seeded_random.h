// SPDX-License-Identifier: Apache-2.0
// base::Random that gives the same bytes for the same seed on every machine (splitmix64, written
// out byte by byte). For tests only: nothing about it is secret. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/random.h"

namespace keyturn::fakes {

class SeededRandom final : public base::Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}

  void Fill(void* data, size_t size) override {
    absl::MutexLock lock(&mu_);
    auto* bytes = static_cast<unsigned char*>(data);
    for (size_t i = 0; i < size; i += 8) {
      uint64_t word = Next();
      for (size_t j = i; j < size && j < i + 8; ++j, word >>= 8) {
        bytes[j] = static_cast<unsigned char>(word & 0xff);
      }
    }
  }

 private:
  uint64_t Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  absl::Mutex mu_;
  uint64_t state_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
// The only door to randomness, so that tests can seed it. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace keyturn::base {

class Random {
 public:
  virtual ~Random() = default;
  // Fills `size` bytes with cryptographically strong randomness.
  virtual void Fill(void* data, size_t size) = 0;

  std::string Bytes(size_t size);
  uint64_t Uint64();
  // In [0, 1).
  double Uniform();
  // In [low, high).
  absl::Duration Between(absl::Duration low, absl::Duration high);
};

// libsodium's generator. sodium_init must have run (crypto::Init).
Random& SystemRandom();

}  // namespace keyturn::base

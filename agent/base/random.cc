// SPDX-License-Identifier: Apache-2.0
#include "agent/base/random.h"

#include <sodium.h>

namespace keyturn::base {
namespace {

class SodiumRandom final : public Random {
 public:
  void Fill(void* data, size_t size) override { randombytes_buf(data, size); }
};

}  // namespace

std::string Random::Bytes(size_t size) {
  std::string bytes(size, '\0');
  Fill(bytes.data(), bytes.size());
  return bytes;
}

uint64_t Random::Uint64() {
  uint64_t value = 0;
  Fill(&value, sizeof value);
  return value;
}

double Random::Uniform() {
  // 53 bits: every value a double in [0, 1) can tell apart at this scale.
  return static_cast<double>(Uint64() >> 11) * 0x1.0p-53;
}

absl::Duration Random::Between(absl::Duration low, absl::Duration high) {
  return low + (high - low) * Uniform();
}

Random& SystemRandom() {
  static SodiumRandom random;
  return random;
}

}  // namespace keyturn::base

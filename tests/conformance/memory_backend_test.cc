// SPDX-License-Identifier: Apache-2.0
// The memory backend keeps the contract that tests above it count on, also behind the decorator
// that injects faults when none is set.
#include "tests/fakes/memory_backend.h"
#include "tests/conformance/backend_conformance.h"
#include "tests/fakes/faulty_backend.h"

namespace keyturn::store {
namespace {

class Memory final : public BackendUnderTest {
 public:
  Backend& backend() override { return backend_; }
  void Reopen() override {}

 private:
  fakes::MemoryBackend backend_;
};

class Decorated final : public BackendUnderTest {
 public:
  Backend& backend() override { return backend_; }
  void Reopen() override {}

 private:
  fakes::MemoryBackend memory_;
  fakes::FaultyBackend backend_{memory_};
};

INSTANTIATE_TEST_SUITE_P(Memory, BackendConformance,
                         testing::Values([] { return std::make_unique<Memory>(); }));
INSTANTIATE_TEST_SUITE_P(Faulty, BackendConformance,
                         testing::Values([] { return std::make_unique<Decorated>(); }));

}  // namespace
}  // namespace keyturn::store

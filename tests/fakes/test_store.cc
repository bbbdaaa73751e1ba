// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/test_store.h"

#include <utility>

#include "agent/base/check.h"

namespace keyturn::fakes {

TestStore::TestStore(uint64_t seed) : random_(seed) { Restart(); }

store::SealedStore& TestStore::Restart() {
  store_.reset();
  auto opened = store::SealedStore::Open(faulty_, kek_, random_, "testag", &anchor_);
  KEYTURN_CHECK(opened.ok(), "a test store opens");
  store_ = *std::move(opened);
  return *store_;
}

}  // namespace keyturn::fakes

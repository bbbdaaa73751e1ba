// SPDX-License-Identifier: Apache-2.0
// The SQLite backend keeps the contract, on a real file that is closed and opened again.
#include "agent/store/sqlite/sqlite_backend.h"

#include "tests/conformance/backend_conformance.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::store {
namespace {

class Sqlite final : public BackendUnderTest {
 public:
  Sqlite() { Reopen(); }
  Backend& backend() override { return *backend_; }
  void Reopen() override {
    backend_.reset();
    auto opened = SqliteBackend::Open(directory_.File("store.db"));
    KEYTURN_CHECK(opened.ok(), "the store opens");
    backend_ = *std::move(opened);
  }

 private:
  fakes::TemporaryDirectory directory_;
  std::unique_ptr<SqliteBackend> backend_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, BackendConformance,
                         testing::Values([] { return std::make_unique<Sqlite>(); }));

}  // namespace
}  // namespace keyturn::store

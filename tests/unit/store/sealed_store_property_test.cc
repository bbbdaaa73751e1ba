// SPDX-License-Identifier: Apache-2.0
// Whatever transactions, faults and restarts come in whatever order: the store holds what a plain
// map holds after the transactions that were answered with OK.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/fakes/test_store.h"

namespace keyturn::store {
namespace {

using fakes::CommitFault;
using Model = std::map<std::string, std::string>;

struct Step {
  std::map<uint64_t, std::string> puts;  // version number -> value
  std::set<uint64_t> deletes;
  int fault = 0;  // 0 and 1: none, else a CommitFault
  bool restart = false;
};

Step ArbitraryStep() {
  Step step;
  for (uint64_t number = 0; number < 8; ++number) {
    const int choice = *rc::gen::inRange(0, 6);
    if (choice == 0) step.deletes.insert(number);
    if (choice == 1) step.puts[number] = *rc::gen::arbitrary<std::string>();
  }
  step.fault = *rc::gen::inRange(0, 6);
  step.restart = *rc::gen::inRange(0, 4) == 0;
  return step;
}

Transaction TransactionOf(const Step& step) {
  Transaction transaction;
  for (const auto& [number, value] : step.puts) {
    VersionRecord record;
    record.credential = "a/b";
    record.number = number;
    record.value = base::CredentialValue::Of(base::Secret(value));
    transaction.Put(std::move(record));
  }
  for (const uint64_t number : step.deletes) transaction.Delete(VersionKey("a/b", number));
  return transaction;
}

Model Loaded(Store& store) {
  Model model;
  const auto records = store.LoadAll();
  RC_ASSERT(records.ok());
  for (const Record& record : *records) {
    model[KeyOf(record)] = std::string(std::get<VersionRecord>(record).value.Primary()->Reveal());
  }
  return model;
}

RC_GTEST_PROP(SealedStoreProperty, HoldsWhatAMapHolds, ()) {
  fakes::TestStore test(*rc::gen::arbitrary<uint64_t>());
  Model model;
  const int steps = *rc::gen::inRange(1, 30);
  for (int i = 0; i < steps; ++i) {
    const Step step = ArbitraryStep();
    const Transaction transaction = TransactionOf(step);
    const bool faulty = step.fault >= 2 && !transaction.empty();
    const auto fault = static_cast<CommitFault>(step.fault - 2);
    if (faulty) test.faults().FailCommit(1, fault);
    const absl::Status status = test.store().Commit(transaction);
    if (status.ok()) {
      for (const auto& [number, value] : step.puts) model[VersionKey("a/b", number)] = value;
      for (const uint64_t number : step.deletes) model.erase(VersionKey("a/b", number));
    }
    const bool must_pass = !faulty || fault == CommitFault::kUnknownAfter;
    RC_ASSERT(status.ok() || !must_pass);
    if (step.restart) RC_ASSERT(Loaded(test.Restart()) == model);
  }
  RC_ASSERT(Loaded(test.Restart()) == model);
}

}  // namespace
}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
// The ledger is never ahead of the disk, and the journal's transactions are whole.
#include "agent/lifecycle/ledger.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/rotation/journal.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/test_store.h"

namespace keyturn::lifecycle {
namespace {

using rotation::Close;
using rotation::Ending;
using rotation::Step;
using rotation::VersionChange;
using store::VersionState;

const absl::Time kNow = absl::FromUnixSeconds(1'767'614'400);

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    store::CredentialRecord credential;
    credential.name = "team/a";
    credential.spec.set_provider("p");
    credential.spec.mutable_rotate()->mutable_every()->set_seconds(86400);
    credential.spec.mutable_rotate()->set_jitter("0%");
    credential.current_version = credential.last_version = 1;
    store::VersionRecord version;
    version.credential = "team/a";
    version.number = 1;
    version.state = VersionState::kCurrent;
    version.provider_key_id = "old";
    version.value = base::CredentialValue::Of(base::Secret("old-value"));
    store::Transaction transaction;
    transaction.Put(credential);
    transaction.Put(version);
    EXPECT_TRUE(ledger_.Commit(transaction).ok());
  }
  const CredentialState& State() { return *ledger_.Find("team/a"); }
  Step StepIn(const std::string& state, VersionChange change) {
    Step step;
    step.record.credential = "team/a";
    step.record.state = state;
    step.record.tag = "kt-1";
    step.record.old_version = 1;
    step.record.old_key_id = "old";
    step.record.new_key_id = "new";
    step.record.new_value = base::CredentialValue::Of(base::Secret("new-value"));
    step.record.new_version = change == VersionChange::kMint ? 0 : 2;
    step.version = change;
    return step;
  }
  // Journals a step; false when the commit failed.
  bool Journal(Step& step) {
    rotation::JournalContext context;
    context.now = kNow;
    context.retry_at = kNow + absl::Minutes(1);
    context.tagged = true;
    return ledger_.Commit(rotation::TransactionFor(ledger_, State(), step, context)).ok();
  }
  // What a new process would find.
  CredentialState Reloaded() {
    Ledger fresh(store_.Restart());
    EXPECT_TRUE(fresh.Load().ok());
    return *fresh.Find("team/a");
  }

  fakes::TestStore store_;
  Ledger ledger_{store_.store()};
};

TEST_F(LedgerTest, AFailedCommitChangesNothing) {
  store_.faults().FailCommit(1, fakes::CommitFault::kDiskFull);
  Step step = StepIn("minted", VersionChange::kMint);
  EXPECT_FALSE(Journal(step));
  EXPECT_FALSE(State().rotation.has_value());
  EXPECT_EQ(State().record.last_version, 1u);
  EXPECT_EQ(State().versions.size(), 1u);
}

TEST_F(LedgerTest, MintingStoresTheKeyWithTheRow) {
  Step step = StepIn("minted", VersionChange::kMint);
  ASSERT_TRUE(Journal(step));
  EXPECT_EQ(step.record.new_version, 2u);
  EXPECT_TRUE(step.record.new_value.empty()) << "one place for a secret is enough";
  const CredentialState state = Reloaded();
  EXPECT_EQ(state.rotation->state, "minted");
  EXPECT_EQ(state.Version(2)->state, VersionState::kPending);
  EXPECT_EQ(state.Version(2)->value.Primary()->Reveal(), "new-value");
  EXPECT_EQ(state.record.current_version, 1u);
}

TEST_F(LedgerTest, PromotionMovesAllThreeTogether) {
  Step minted = StepIn("minted", VersionChange::kMint);
  ASSERT_TRUE(Journal(minted));
  Step step = StepIn("retiring", VersionChange::kPromote);
  step.record.grace_until = kNow + absl::Hours(1);
  ASSERT_TRUE(Journal(step));
  const CredentialState state = Reloaded();
  EXPECT_EQ(state.record.current_version, 2u);
  EXPECT_EQ(state.record.retiring_version, 1u);
  EXPECT_EQ(state.record.next_due, kNow + absl::Hours(24));
  EXPECT_EQ(state.Version(2)->state, VersionState::kCurrent);
  EXPECT_EQ(state.Version(1)->state, VersionState::kRetiring);
  EXPECT_EQ(state.Version(1)->grace_until, kNow + absl::Hours(1));
  EXPECT_FALSE(state.Version(1)->value.empty()) << "consumers may still need it";
  EXPECT_EQ(ledger_.KnownKeyIds(""), (std::set<std::string>{"new", "old"}));
}

// A credential that holds a key.
void Hold(store::Transaction& transaction, const std::string& name, const std::string& provider,
          const std::string& recovery, const std::string& id) {
  store::CredentialRecord record;
  record.name = name;
  record.spec.set_provider(provider);
  record.spec.set_recovery(recovery);
  transaction.Put(record);
  store::VersionRecord version;
  version.credential = name;
  version.number = 1;
  version.state = VersionState::kCurrent;
  version.provider_key_id = id;
  transaction.Put(version);
}

// Services number their keys from 1, so an id says nothing without its service.
TEST_F(LedgerTest, KeysAreKnownAtTheirServiceAlone) {
  store::Transaction transaction;
  const auto provide = [&](const std::string& name, const std::string& endpoint) {
    store::ProviderRecord provider{name, {}};
    provider.spec.set_recipe("r");
    provider.spec.set_endpoint(endpoint);
    transaction.Put(provider);
  };
  provide("a", "https://a.example.com");
  provide("a-too", "HTTPS://A.example.com:443/");
  provide("b", "https://b.example.com");
  Hold(transaction, "x", "a", "", "1");
  Hold(transaction, "y", "a-too", "", "2");
  Hold(transaction, "z", "b", "a", "3");
  Hold(transaction, "w", "b", "", "4");
  ASSERT_TRUE(ledger_.Commit(transaction).ok());
  EXPECT_EQ(ledger_.KnownKeyIds("a"), (std::set<std::string>{"1", "2", "3"}));
  EXPECT_EQ(ledger_.KnownKeyIds("b"), (std::set<std::string>{"3", "4"}));
}

// Slots are named alike at every resource of a service.
TEST_F(LedgerTest, SlotsAreKnownWhereTheyAreAlone) {
  store::Transaction transaction;
  for (const char* name : {"a", "b", "b-too"}) {
    store::ProviderRecord provider{name, {}};
    provider.spec.set_recipe("r");
    provider.spec.set_endpoint("https://h");
    (*provider.spec.mutable_params())["account"] = std::string(name).substr(0, 1);
    transaction.Put(provider);
    Hold(transaction, name, name, "", absl::StrCat("key-", name));
  }
  ASSERT_TRUE(ledger_.Commit(transaction).ok());
  EXPECT_EQ(ledger_.KnownKeyIds("a", Reach::kKeySet), std::set<std::string>{"key-a"});
  EXPECT_EQ(ledger_.KnownKeyIds("b", Reach::kKeySet),
            (std::set<std::string>{"key-b", "key-b-too"}));
  EXPECT_EQ(ledger_.KnownKeyIds("a").size(), 3u);
}

TEST_F(LedgerTest, RevokingErasesTheSecretAndClosesTheRow) {
  Step minted = StepIn("minted", VersionChange::kMint);
  ASSERT_TRUE(Journal(minted));
  Step promoted = StepIn("retiring", VersionChange::kPromote);
  ASSERT_TRUE(Journal(promoted));
  Step step = StepIn("revoking", VersionChange::kRevokeOld);
  step.record.sent_at = kNow;
  step.effect = Close{};
  ASSERT_TRUE(Journal(step));
  const CredentialState state = Reloaded();
  EXPECT_FALSE(state.rotation.has_value());
  EXPECT_EQ(state.Version(1)->state, VersionState::kRevoked);
  EXPECT_TRUE(state.Version(1)->value.empty());
  EXPECT_EQ(state.record.retiring_version, 0u);
  EXPECT_EQ(state.tags.count("kt-1"), 1u) << "an effect of it may still come";
  EXPECT_EQ(ledger_.KnownKeyIds(""), std::set<std::string>{"new"});
}

TEST_F(LedgerTest, AFailedAttemptIsCountedAndPutOff) {
  Step step = StepIn("creating", VersionChange::kNone);
  step.effect = Close{Ending::kRefused, "http_403", 403, {}, {}};
  ASSERT_TRUE(Journal(step));
  const CredentialState state = Reloaded();
  EXPECT_EQ(state.record.consecutive_failures, 1u);
  EXPECT_EQ(state.record.failure_code, "ROTATION_FAILED");
  EXPECT_EQ(state.record.next_due, kNow + absl::Minutes(1));
  EXPECT_EQ(state.history.rbegin()->second.outcome, "refused");
  EXPECT_EQ(state.tags.size(), 0u) << "a tag that never left";
}

TEST_F(LedgerTest, HistoryAndEndedVersionsStayBounded) {
  for (uint64_t i = 0; i < 150; ++i) {
    Step minted = StepIn("minted", VersionChange::kMint);
    ASSERT_TRUE(Journal(minted));
    Step dropped = StepIn("aborting", VersionChange::kDropNew);
    dropped.record.new_version = minted.record.new_version;
    dropped.effect = Close{Ending::kAborted, "x", 0, {}, {}};
    ASSERT_TRUE(Journal(dropped));
  }
  const CredentialState state = Reloaded();
  EXPECT_LE(state.history.size(), 100u);
  EXPECT_LE(state.versions.size(), 12u);
  EXPECT_EQ(state.Version(1)->state, VersionState::kCurrent);
  EXPECT_EQ(state.record.last_version, 151u);
}

TEST_F(LedgerTest, PartsWithoutTheirCredentialAreRefused) {
  store::Transaction transaction;
  transaction.Delete("credential/team/a");
  ASSERT_TRUE(store_.store().Commit(transaction).ok());
  Ledger fresh(store_.Restart());
  EXPECT_TRUE(absl::IsDataLoss(fresh.Load()));
}

}  // namespace
}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// Two agents on one store, which the store's lock should never allow: what one of them decided by
// records that the other has changed is refused, and it does nothing any more.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "agent/lifecycle/ledger.h"
#include "agent/lifecycle/rotation/journal.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/fixed_kek_source.h"
#include "tests/fakes/keeper_house.h"
#include "tests/fakes/seeded_random.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using fakes::ProviderCall;
using rotation::Close;
using rotation::Ending;
using rotation::Step;
using rotation::VersionChange;

constexpr char kYaml[] =
    "providers: { p: { recipe: fake } }\n"
    "credentials:\n"
    "  app/key: { provider: p, rotate: { every: 1d, jitter: 0%, grace: 1h } }\n"
    "  app/token: { oauth: { token_url: 'https://t.test/token', grant: client_credentials,\n"
    "                        client_id: me, client_secret: { credential: app/secret } } }\n"
    "  app/secret: { static: {} }\n";

// Another process that has opened the same store, and knows it as it was then.
class OtherAgent {
 public:
  explicit OtherAgent(fakes::TestStore& first) {
    auto opened = store::SealedStore::Open(first.backend(), kek_, random_, "testag");
    EXPECT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    ledger_ = std::make_unique<Ledger>(*store_);
    EXPECT_TRUE(ledger_->Load().ok());
  }
  Ledger& ledger() { return *ledger_; }

  // One step of a rotation of app/key.
  absl::Status Journal(const std::string& state, VersionChange change,
                       rotation::Effect effect = rotation::Proceed{}) {
    const CredentialState& credential = *ledger_->Find("app/key");
    Step step;
    step.record.id = step.record.tag = "theirs";
    step.record.credential = "app/key";
    step.record.state = state;
    step.record.old_version = credential.record.current_version;
    step.record.new_key_id = "theirs";
    step.record.new_value = base::CredentialValue::Of(base::Secret("theirs"));
    step.record.new_version = credential.record.last_version;
    step.version = change;
    step.effect = std::move(effect);
    rotation::JournalContext context;
    context.now = absl::FromUnixSeconds(1'767'614'400);
    return ledger_->Commit(rotation::TransactionFor(*ledger_, credential, step, context));
  }

 private:
  fakes::FixedKekSource kek_;
  fakes::SeededRandom random_{77};
  std::unique_ptr<store::SealedStore> store_;
  std::unique_ptr<Ledger> ledger_;
};

class SecondAgentTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(house_.Apply(kYaml).ok());
    ASSERT_TRUE(house_.Put("app/secret", "s3cret").ok());
    ASSERT_TRUE(house_.AdvanceUntil(
        [&] { return house_.Published("app/key") != "" && house_.Published("app/token") != ""; },
        absl::Minutes(5)));
    ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.RotationState("app/key") == ""; },
                                    absl::Minutes(5)));
  }
  static KeeperHouse::Options Tagged() {
    KeeperHouse::Options options;
    options.provider.traits.provider_class = providers::ProviderClass::kTagged;
    return options;
  }
  int Calls() {
    int calls = house_.endpoint.requests();
    for (const ProviderCall call : {ProviderCall::kCreate, ProviderCall::kList,
                                    ProviderCall::kVerify, ProviderCall::kRevoke}) {
      calls += house_.provider->calls(call);
    }
    return calls;
  }
  void ExpectNothingMoreHappens() {
    const uint64_t commits = house_.store.faults().commits();
    const int calls = Calls();
    house_.Advance(absl::Hours(49));
    EXPECT_EQ(house_.store.faults().commits(), commits);
    EXPECT_EQ(Calls(), calls);
  }

  KeeperHouse house_{Tagged()};
};

TEST_F(SecondAgentTest, AnAgentWhoseStoreWasTakenStops) {
  OtherAgent other(house_.store);
  ASSERT_TRUE(other.Journal("creating", VersionChange::kNone).ok());
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.stores_taken != 0; }, absl::Hours(25)));
  EXPECT_EQ(house_.log.Count({"\"event\":\"store_taken\"", "\"level\":\"error\""}), 1);
  EXPECT_EQ(house_.log.Failures("STORE_FULL"), 0) << "the disk has room";
  ExpectNothingMoreHappens();
  EXPECT_EQ(house_.stores_taken, 1);
  EXPECT_EQ(house_.Put("app/secret", "another").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// The credential's row is part of each step: that the other's row was closed again hides nothing.
TEST_F(SecondAgentTest, NoRotationBeginsOnWhatAnotherHasReplaced) {
  OtherAgent other(house_.store);
  ASSERT_TRUE(other.Journal("creating", VersionChange::kNone).ok());
  ASSERT_TRUE(other.Journal("minted", VersionChange::kMint).ok());
  ASSERT_TRUE(other.Journal("retiring", VersionChange::kPromote).ok());
  ASSERT_TRUE(
      other.Journal("retiring", VersionChange::kNone, Close{Ending::kDone, "", 0, {}, {}}).ok());
  const int creates = house_.provider->calls(ProviderCall::kCreate);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.stores_taken != 0; }, absl::Hours(25)));
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), creates);
  ExpectNothingMoreHappens();
}

TEST_F(SecondAgentTest, ASweepIsEnoughToFindOut) {
  OtherAgent other(house_.store);
  ASSERT_TRUE(other.Journal("creating", VersionChange::kNone).ok());
  ASSERT_TRUE(
      other.Journal("creating", VersionChange::kNone, Close{Ending::kNothingCreated, "", 0, {}, {}})
          .ok());
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.stores_taken != 0; }, absl::Minutes(61)));
}

TEST_F(SecondAgentTest, ARefreshOnATakenStoreStopsToo) {
  OtherAgent other(house_.store);
  store::Transaction transaction;
  transaction.Put(other.ledger().Find("app/token")->record);
  ASSERT_TRUE(other.ledger().Commit(transaction).ok());
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.stores_taken != 0; }, absl::Hours(2)));
  ExpectNothingMoreHappens();
}

TEST_F(SecondAgentTest, AManagersTokenThatComesLateIsNotUsed) {
  ASSERT_TRUE(house_.Apply("providers: { p: { recipe: fake, manager: app/token } }").ok());
  house_.endpoint.SetFaults([] {
    return fakes::TokenFault{fakes::TokenFault::Kind::kLoseRequest, {}, {}};
  });
  house_.Advance(absl::Minutes(15));  // the token that is held has expired
  const int asked = house_.endpoint.requests();
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.endpoint.requests() > asked; }, absl::Minutes(10)));
  const int lists = house_.provider->calls(ProviderCall::kList);
  v1::RotateRequest request;
  request.set_name("app/key");
  house_.keeper().Rotate(
      std::move(request), [](const v1::RotateResponse&) {}, [](const absl::Status&) {});
  house_.Advance(absl::ZeroDuration());

  OtherAgent other(house_.store);
  store::Transaction change;
  change.Put(other.ledger().Find("app/secret")->record);
  ASSERT_TRUE(other.ledger().Commit(change).ok());
  EXPECT_FALSE(house_.Put("app/secret", "another").ok());
  ASSERT_EQ(house_.stores_taken, 1);
  house_.endpoint.SetFaults([] { return fakes::TokenFault(); });
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.provider->calls(ProviderCall::kList), lists);
}

}  // namespace
}  // namespace keyturn::lifecycle

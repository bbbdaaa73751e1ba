// SPDX-License-Identifier: Apache-2.0
// When a version is acknowledged: read, and no other one held any more.
#include "client/lib/acknowledger.h"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace keyturn::client {
namespace {

// Records what is acknowledged; answers with errors first, when it was given some.
class AcknowledgedClient final : public Client {
 public:
  absl::StatusOr<uint64_t> Acknowledge(const std::string& name, uint64_t version,
                                       absl::Duration) override {
    absl::MutexLock lock(&mutex_);
    calls_.push_back(absl::StrCat(name, " ", version));
    if (errors_.empty()) return version;
    absl::Status error = std::move(errors_.front());
    errors_.pop_front();
    return error;
  }
  // The next call; "nothing" after a long time.
  std::string Next() {
    absl::MutexLock lock(&mutex_);
    const auto some = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !calls_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&some), absl::Seconds(30))) return "nothing";
    std::string call = std::move(calls_.front());
    calls_.pop_front();
    return call;
  }
  void FailWith(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    errors_.push_back(std::move(status));
  }

  absl::StatusOr<Credential> Get(const std::string&, const GetOptions&) override { return Not(); }
  absl::StatusOr<std::vector<absl::StatusOr<Credential>>> BatchGet(const std::vector<std::string>&,
                                                                   const GetOptions&) override {
    return Not();
  }
  std::unique_ptr<WatchHandle> Watch(std::vector<std::string>, std::function<void(WatchEvent)>,
                                     WatchOptions) override {
    return nullptr;
  }
  absl::StatusOr<Rejection> ReportRejected(const std::string&, uint64_t, absl::Duration) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<Identity> WhoAmI(absl::Duration) override { return Not(); }
  absl::Status WaitReady(absl::Duration) override { return absl::OkStatus(); }
  const std::string& socket_path() const override { return path_; }

 private:
  static absl::Status Not() { return absl::UnimplementedError("not in this test"); }

  const std::string path_;
  absl::Mutex mutex_;
  std::deque<std::string> calls_ ABSL_GUARDED_BY(mutex_);
  std::deque<absl::Status> errors_ ABSL_GUARDED_BY(mutex_);
};

class AcknowledgerTest : public testing::Test {
 protected:
  std::shared_ptr<const Credential> Count(const std::string& name, uint64_t version) {
    Credential credential;
    credential.name = name;
    credential.version = version;
    return acknowledger_.Count(std::move(credential));
  }
  // What is due goes in the order of the names: when the call for "z" comes, nothing was due
  // before.
  void ExpectNothingDue() {
    acknowledger_.Read("z", ++z_);
    EXPECT_EQ(client_->Next(), absl::StrCat("z ", z_));
  }

  const std::shared_ptr<AcknowledgedClient> client_ = std::make_shared<AcknowledgedClient>();
  Acknowledger acknowledger_{client_};
  uint64_t z_ = 0;
};

TEST_F(AcknowledgerTest, AVersionThatNobodyReadIsNotAcknowledged) {
  auto one = Count("a", 1);
  ExpectNothingDue();
  acknowledger_.Read("a", 1);
  EXPECT_EQ(client_->Next(), "a 1");
  acknowledger_.Read("a", 1);
  ExpectNothingDue();
}

TEST_F(AcknowledgerTest, WhileAnOlderValueIsHeldTheNewOneIsNotAcknowledged) {
  auto one = Count("a", 1);
  acknowledger_.Read("a", 1);
  EXPECT_EQ(client_->Next(), "a 1");
  const auto two = Count("a", 2);
  auto held = one;
  one = nullptr;
  acknowledger_.Read("a", 2);
  ExpectNothingDue();
  held = nullptr;
  EXPECT_EQ(client_->Next(), "a 2");
}

TEST_F(AcknowledgerTest, ANewerValueThatNobodyReadYetHoldsTheOlderOneBack) {
  auto one = Count("a", 1);
  auto two = Count("a", 2);
  acknowledger_.Read("a", 1);
  ExpectNothingDue();
  one = nullptr;
  ExpectNothingDue();
  acknowledger_.Read("a", 2);
  EXPECT_EQ(client_->Next(), "a 2");
}

TEST_F(AcknowledgerTest, WhatTheAgentMayHaveLostIsSaidAgain) {
  acknowledger_.Read("a", 3);
  EXPECT_EQ(client_->Next(), "a 3");
  ExpectNothingDue();
  acknowledger_.SayAgain();
  EXPECT_EQ(client_->Next(), "a 3");
}

TEST_F(AcknowledgerTest, AnAgentThatIsAwayIsAskedAgainAndOneThatRefusesIsNot) {
  client_->FailWith(absl::UnavailableError("away"));
  client_->FailWith(absl::UnimplementedError("never heard of it"));
  acknowledger_.Read("a", 1);
  EXPECT_EQ(client_->Next(), "a 1");
  EXPECT_EQ(client_->Next(), "a 1");
  ExpectNothingDue();
}

TEST_F(AcknowledgerTest, ValuesMayOutliveIt) {
  std::shared_ptr<const Credential> value;
  {
    Acknowledger another(client_);
    Credential credential;
    credential.name = "a";
    value = another.Count(std::move(credential));
  }
  EXPECT_EQ(value->name, "a");
  value = nullptr;
}

}  // namespace
}  // namespace keyturn::client

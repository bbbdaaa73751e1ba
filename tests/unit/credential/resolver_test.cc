// SPDX-License-Identifier: Apache-2.0
// The read path: what is answered at once, what waits, and what is never handed out.
#include "agent/credential/resolver.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/simulated_clock.h"

namespace keyturn::credential {
namespace {

// Answers when the test says so.
class ManualFreshness final : public lifecycle::Freshness {
 public:
  void EnsureFresh(std::string, absl::Duration asked, Done d) override {
    timeout = asked;
    done = std::move(d);
  }
  absl::Duration timeout;
  Done done;
};

class ResolverTest : public testing::Test {
 protected:
  // A token of 100 s, hard at 80 s.
  lifecycle::PublishedVersion Token(uint64_t version = 1) {
    lifecycle::PublishedVersion token;
    token.name = "crm/token";
    token.kind = v1::OAUTH_TOKEN;
    token.version = version;
    token.value = base::CredentialValue::Of(base::Secret("token-" + std::to_string(version)));
    token.hard = clock_.BootNow() + absl::Seconds(80);
    token.expires = clock_.BootNow() + absl::Seconds(100);
    token.expires_wall = clock_.WallNow() + absl::Seconds(100);
    token.longest_life = absl::Seconds(90);
    return token;
  }
  std::optional<absl::Status> Try(absl::Duration min_remaining = absl::ZeroDuration()) {
    out_.Clear();
    return resolver_.TryGet("crm/token", min_remaining, out_);
  }
  // Await, with the flight ending as told.
  absl::Status Await(const absl::Status& flight,
                     absl::Duration min_remaining = absl::ZeroDuration()) {
    absl::Status answer = absl::UnknownError("no answer");
    resolver_.Await("crm/token", min_remaining, absl::Seconds(1),
                    [&](absl::Status status, v1::Credential credential) {
                      answer = std::move(status);
                      out_ = std::move(credential);
                    });
    freshness_.done(flight);
    return answer;
  }

  fakes::SimulatedClock clock_;
  Snapshot snapshot_;
  ManualFreshness freshness_;
  Resolver resolver_{snapshot_, freshness_, clock_};
  v1::Credential out_;
};

TEST_F(ResolverTest, AnUnknownNameIsNotFound) {
  ASSERT_TRUE(Try().has_value());
  EXPECT_TRUE(absl::IsNotFound(*Try()));
  EXPECT_EQ(base::ReasonOf(*Try()), "NO_SUCH_CREDENTIAL");
}

TEST_F(ResolverTest, AnswersAtOnceUntilTheHardPoint) {
  snapshot_.Put(Token());
  clock_.Advance(absl::Seconds(79));
  ASSERT_TRUE(Try().has_value());
  EXPECT_TRUE(Try()->ok());
  EXPECT_EQ(out_.fields(0).value(), "token-1");
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(Try().has_value()) << "it should wait for the refresh";
}

TEST_F(ResolverTest, MinRemainingWaitsForALongerOne) {
  snapshot_.Put(Token());
  clock_.Advance(absl::Seconds(50));
  EXPECT_TRUE(Try(absl::Seconds(50))->ok());
  EXPECT_FALSE(Try(absl::Seconds(51)).has_value());
  ASSERT_TRUE(Try(absl::Seconds(91)).has_value());
  EXPECT_TRUE(absl::IsOutOfRange(*Try(absl::Seconds(91))));
}

TEST_F(ResolverTest, AFailedRefreshStillGivesAValidTokenMarkedExpiring) {
  snapshot_.Put(Token());
  clock_.Advance(absl::Seconds(99));
  EXPECT_TRUE(Await(absl::UnavailableError("down")).ok());
  EXPECT_EQ(out_.fields(0).value(), "token-1");
  EXPECT_TRUE(out_.expiring());
}

TEST_F(ResolverTest, AnExpiredTokenIsNeverHandedOut) {
  snapshot_.Put(Token());
  clock_.Advance(absl::Seconds(100));
  EXPECT_FALSE(Try().has_value());
  EXPECT_TRUE(absl::IsUnavailable(Await(absl::UnavailableError("down"))));
  EXPECT_EQ(out_.fields_size(), 0);
  // Not even when the flight claims to have ended well.
  EXPECT_TRUE(absl::IsUnavailable(Await(absl::OkStatus())));
  EXPECT_EQ(out_.fields_size(), 0);
}

TEST_F(ResolverTest, TheErrorOfTheFlightReachesTheCaller) {
  snapshot_.Put(Token());
  clock_.Advance(absl::Seconds(200));
  const absl::Status status =
      Await(base::WithReason(absl::FailedPreconditionError("consent"), "NEEDS_CONSENT"));
  EXPECT_EQ(base::ReasonOf(status), "NEEDS_CONSENT");
}

TEST_F(ResolverTest, WhoAskedForMoreThanIsLeftGetsTheError) {
  snapshot_.Put(Token());
  clock_.Advance(absl::Seconds(50));
  EXPECT_TRUE(absl::IsUnavailable(Await(absl::UnavailableError("down"), absl::Seconds(60))));
}

TEST_F(ResolverTest, ANewTokenIsGivenAfterTheFlight) {
  snapshot_.Put(Token());
  clock_.Advance(absl::Seconds(150));
  snapshot_.Put(Token(2));
  EXPECT_TRUE(Await(absl::OkStatus()).ok());
  EXPECT_EQ(out_.version(), 2u);
  EXPECT_FALSE(out_.expiring());
  EXPECT_LT(freshness_.timeout, absl::Seconds(1)) << "the answer must reach a caller in time";
}

TEST_F(ResolverTest, AKeyThatExpiredIsSaidToHave) {
  lifecycle::PublishedVersion key = Token();
  key.kind = v1::API_KEY;
  key.hard = base::BootTime::InfiniteFuture();
  key.longest_life = absl::InfiniteDuration();
  snapshot_.Put(key);
  clock_.Advance(absl::Seconds(99));
  EXPECT_TRUE(Try()->ok());
  EXPECT_TRUE(absl::IsOutOfRange(*Try(absl::Seconds(5))));
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(base::ReasonOf(*Try()), "EXPIRED");
}

TEST_F(ResolverTest, WhyThereIsNoValueIsTheAnswer) {
  lifecycle::PublishedVersion none;
  none.name = "crm/token";
  none.kind = v1::STATIC;
  none.unavailable = absl::FailedPreconditionError("keyturn put");
  snapshot_.Put(none);
  EXPECT_TRUE(absl::IsFailedPrecondition(*Try()));
}

}  // namespace
}  // namespace keyturn::credential

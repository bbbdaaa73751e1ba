// SPDX-License-Identifier: Apache-2.0
// What holds of refreshes whatever the lifetime, the draw and the faults: when a token is refreshed
// and waited for, and how often a refresh token goes out that may have been spent.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/oauth/refresh_policy.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"
#include "tests/fakes/seeded_random.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using fakes::TokenFault;
using oauth::Decide;
using oauth::Doubt;
using oauth::DoubtAction;
using oauth::Windows;
using oauth::WindowsFor;
using Kind = TokenFault::Kind;

const base::BootTime kSent{absl::Hours(5)};

RC_GTEST_PROP(RefreshProperties, ATokenIsRefreshedWellBeforeAnybodyWaitsForIt, ()) {
  // From a second to months, each size as often as the others.
  absl::Duration lifetime = absl::Milliseconds(*rc::gen::inRange(1000, 10'000));
  for (int i = *rc::gen::inRange(0, 7); i > 0; --i) lifetime *= 10;
  const double draw = *rc::gen::inRange(0, 1000) / 1000.0;
  const Windows windows = WindowsFor(kSent, lifetime, draw);
  RC_ASSERT(windows.soft <= windows.hard);
  RC_ASSERT(windows.hard <= windows.expires);
  RC_ASSERT(windows.expires <= kSent + lifetime);
  const double part = absl::FDivDuration(windows.soft - kSent, lifetime);
  if (lifetime < absl::Seconds(120)) {
    RC_ASSERT(part > 0.499);
    RC_ASSERT(part < 0.501);
  } else {
    RC_ASSERT(part >= 0.6999);
    RC_ASSERT(part < 0.8001);
  }
  // From the soft point on there is time for an exchange before anybody waits for it: half of what
  // is left, or all but a minute.
  RC_ASSERT(windows.hard - windows.soft >= (windows.expires - windows.soft) / 2);
  RC_ASSERT(windows.expires - windows.hard <= absl::Seconds(60));
}

RC_GTEST_PROP(RefreshProperties, ATokenInDoubtGoesOutAgainOnlyWhenThatCostsNothing, ()) {
  Doubt doubt;
  doubt.rotation = *rc::gen::element(v1::REFRESH_TOKEN_ROTATION_UNSPECIFIED, v1::ROTATES);
  doubt.leeway = absl::Milliseconds(*rc::gen::inRange(0, 700'000));
  doubt.since_sent = absl::Milliseconds(*rc::gen::inRange(0, 900'000));
  doubt.until_hard = absl::Milliseconds(*rc::gen::inRange(-600'000, 600'000));
  const DoubtAction action = Decide(doubt);
  const bool in_leeway = doubt.since_sent < doubt.leeway - absl::Seconds(5);
  RC_ASSERT((action == DoubtAction::kRetryInLeeway) == in_leeway);
  if (!in_leeway && doubt.until_hard > absl::ZeroDuration()) {
    RC_ASSERT(action == DoubtAction::kWaitForHard);
  }
  RC_ASSERT(action != DoubtAction::kRetryFreely);  // that is for after the one retry
}

// A token endpoint that loses some of its exchanges, of one refresh token so many at most, and
// looks at what is sent.
class LossyHouse {
 public:
  LossyHouse(uint64_t seed, absl::Duration lifetime, absl::Duration leeway, int losses_max)
      : random_(seed), house(OptionsOf(seed, lifetime, leeway)) {
    house.endpoint.SetFaults([this, losses_max] { return Next(losses_max); });
    EXPECT_TRUE(house
                    .Apply(absl::StrCat(
                        "credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: app, "
                        "client_auth: none, grant: refresh_token, refresh_token: rotates",
                        leeway > absl::ZeroDuration()
                            ? absl::StrCat(", leeway: ", absl::ToInt64Seconds(leeway), "s")
                            : "",
                        " }\n"))
                    .ok());
    Consent();
  }
  void Consent() {
    EXPECT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
    house.Advance(absl::Seconds(1));
  }
  // Until so many exchanges began. A person consents again whenever they are asked.
  void Run(int requests) {
    for (;;) {
      ASSERT_TRUE(house.AdvanceUntil(
          [&] {
            return house.endpoint.requests() >= requests || !house.endpoint.GrantAlive("app");
          },
          absl::Hours(72)));
      if (house.endpoint.GrantAlive("app")) break;
      ++burned;
      ASSERT_TRUE(house.AdvanceUntil([&] { return NeedsConsent() == burned; }, absl::Hours(3)))
          << "a grant is gone, and nobody was told";
      ASSERT_GE(house.log.Failures("REFRESH_IN_DOUBT"), burned) << "and nobody knows why";
      Consent();
    }
  }
  int NeedsConsent() { return house.log.Failures("NEEDS_CONSENT") - told_at_first; }

 private:
  static KeeperHouse::Options OptionsOf(uint64_t seed, absl::Duration lifetime,
                                        absl::Duration leeway) {
    KeeperHouse::Options options;
    options.endpoint.lifetime = lifetime;
    options.endpoint.leeway = leeway;
    options.seed = seed;
    return options;
  }
  // Looks at what was just sent, and decides what becomes of it.
  TokenFault Next(int losses_max) {
    const std::string token(house.endpoint.last_request().refresh_token.Reveal());
    const base::BootTime now = house.clock.BootNow();
    const auto held = house.sink.versions.find("t");
    const auto before = in_doubt_.find(token);
    if (before != in_doubt_.end()) {
      ++repeated;
      const bool has_token = held != house.sink.versions.end() && held->second.version != 0;
      if (now - before->second.first_sent >= leeway_limit && has_token && now < held->second.hard) {
        ++hasty;
      }
    }
    TokenFault fault;
    const bool enough = before != in_doubt_.end() && before->second.losses >= losses_max;
    if (random_.Uniform() < 0.75 || enough) return fault;
    static constexpr Kind kKinds[] = {Kind::kLoseReply,   Kind::kLoseRequest, Kind::kLateEffect,
                                      Kind::kServerError, Kind::kFailAfter,   Kind::kTransient};
    fault.kind = kKinds[static_cast<size_t>(random_.Uniform() * 6)];
    fault.late_by = absl::Seconds(25) * random_.Uniform();
    if (fault.kind != Kind::kTransient)
      ++in_doubt_.try_emplace(token, Doubtful{now}).first->second.losses;
    return fault;
  }

  struct Doubtful {
    base::BootTime first_sent;
    int losses = 0;
  };
  fakes::SeededRandom random_;
  // Refresh tokens of whose exchange one had no clear outcome.
  std::map<std::string, Doubtful> in_doubt_;

 public:
  KeeperHouse house;
  // From then on a repetition is no longer covered by the server's leeway.
  absl::Duration leeway_limit = absl::ZeroDuration();
  int told_at_first = 1;  // of the first refresh token
  int burned = 0;
  int repeated = 0;
  int hasty = 0;
};

TEST(RefreshProperties, WithoutLeewayATokenInDoubtIsRepeatedAtItsHardPointAndNoEarlier) {
  int repeated = 0;
  int burned = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const absl::Duration lifetimes[] = {absl::Seconds(20), absl::Minutes(2), absl::Hours(1)};
    LossyHouse lossy(seed, lifetimes[seed % 3], absl::ZeroDuration(), /*losses_max=*/1);
    lossy.Run(60);
    if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed;
    EXPECT_EQ(lossy.hasty, 0) << "seed " << seed;
    EXPECT_EQ(lossy.house.endpoint.replays(), lossy.burned) << "seed " << seed;
    repeated += lossy.repeated;
    burned += lossy.burned;
  }
  EXPECT_GT(repeated, 40 * 4) << "little was lost, so little was shown";
  EXPECT_GT(burned, 40);
  EXPECT_LT(burned, repeated);
}

TEST(RefreshProperties, WithALeewayNoGrantIsEverBurned) {
  int repeated = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const absl::Duration lifetimes[] = {absl::Seconds(20), absl::Minutes(2), absl::Hours(1)};
    LossyHouse lossy(seed, lifetimes[seed % 3], absl::Minutes(2), /*losses_max=*/2);
    lossy.leeway_limit = absl::Seconds(115);
    lossy.Run(60);
    if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed;
    EXPECT_EQ(lossy.house.endpoint.replays(), 0) << "seed " << seed;
    EXPECT_EQ(lossy.burned, 0) << "seed " << seed;
    EXPECT_EQ(lossy.hasty, 0) << "seed " << seed;
    repeated += lossy.repeated;
  }
  EXPECT_GT(repeated, 40 * 4);
}

}  // namespace
}  // namespace keyturn::lifecycle

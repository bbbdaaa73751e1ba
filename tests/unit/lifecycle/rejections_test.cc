// SPDX-License-Identifier: Apache-2.0
// What a report that a value was rejected makes the agent do, and how often at most.
#include "agent/lifecycle/rejections.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

const base::BootTime kStart{absl::Hours(1)};
constexpr char kPrincipal[] = "unix:uid=1000,user=a,gid=1000,pid=7";

TEST(Rejections, TenReportsAMinuteOfOneUserHoweverManyProcesses) {
  Rejections rejections;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(rejections.Admit(absl::StrCat("unix:uid=1,pid=", i), kStart), absl::ZeroDuration());
  }
  EXPECT_EQ(rejections.Admit("unix:uid=1,pid=99", kStart), absl::Seconds(6));
  EXPECT_EQ(rejections.Admit("unix:uid=2,pid=99", kStart), absl::ZeroDuration());
  EXPECT_EQ(rejections.Admit("unix:uid=1,pid=99", kStart + absl::Seconds(6)), absl::ZeroDuration());
}

TEST(Rejections, OneLookAMinuteAndNoMoreThanSoManyRemembered) {
  Rejections rejections(3);
  EXPECT_TRUE(rejections.MayLook("a", kStart));
  EXPECT_FALSE(rejections.MayLook("a", kStart + absl::Seconds(59)));
  EXPECT_TRUE(rejections.MayLook("b", kStart + absl::Seconds(1)));
  EXPECT_TRUE(rejections.MayLook("c", kStart + absl::Seconds(2)));
  EXPECT_TRUE(rejections.MayLook("d", kStart + absl::Seconds(3)));  // makes room
  EXPECT_FALSE(rejections.MayLook("c", kStart + absl::Seconds(4)));
  EXPECT_TRUE(rejections.MayLook("c", kStart + absl::Seconds(62)));
}

TEST(Rejections, AThousandWaitForOneCredentialAtATime) {
  Rejections rejections;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(rejections.MayWait("a")) << i;
  EXPECT_FALSE(rejections.MayWait("a"));
  EXPECT_TRUE(rejections.MayWait("b"));
  rejections.HasWaited("a");
  EXPECT_TRUE(rejections.MayWait("a"));
  EXPECT_FALSE(rejections.MayWait("a"));
}

class ReportTest : public testing::Test {
 protected:
  explicit ReportTest(fakes::KeeperHouse::Options options = Options())
      : house_(std::move(options)) {}
  static fakes::KeeperHouse::Options Options() {
    fakes::KeeperHouse::Options options;
    options.provider.traits.provider_class = providers::ProviderClass::kTagged;
    options.provider.traits.can_verify = true;
    return options;
  }
  uint64_t Version() { return house_.sink.versions.at("t").version; }
  absl::StatusOr<v1::ReportRejectedResponse> Report(uint64_t version,
                                                    const std::string& principal = kPrincipal) {
    v1::ReportRejectedRequest request;
    request.set_name("t");
    request.set_version(version);
    std::optional<absl::StatusOr<v1::ReportRejectedResponse>> got;
    house_.keeper().ReportRejected(principal, request, [&](auto r) { got = std::move(r); });
    house_.AdvanceUntil([&] { return got.has_value(); }, absl::Minutes(1));
    return got.value_or(absl::InternalError("no answer"));
  }

  fakes::KeeperHouse house_;
};

TEST_F(ReportTest, ATokenIsReplacedOnceAMinuteAndOldOnesAreOldNews) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  const uint64_t first = Version();
  const int requests = house_.endpoint.requests();
  auto response = Report(first);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->outcome(), "replaced");
  EXPECT_EQ(response->current_version(), first + 1);
  EXPECT_EQ(Report(first)->outcome(), "newer");
  EXPECT_EQ(Report(first + 1)->outcome(), "debounced");
  EXPECT_EQ(house_.endpoint.requests(), requests + 1);
  house_.Advance(absl::Minutes(1));
  EXPECT_EQ(Report(Version())->outcome(), "replaced");
}

TEST_F(ReportTest, AThousandWhoReportTheSameShareOneRefresh) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  const uint64_t version = Version();
  const int requests = house_.endpoint.requests();
  int replaced = 0;
  v1::ReportRejectedRequest request;
  request.set_name("t");
  request.set_version(version);
  for (int i = 0; i < 1000; ++i) {
    house_.keeper().ReportRejected(kPrincipal, request,
                                   [&](absl::StatusOr<v1::ReportRejectedResponse> r) {
                                     replaced += r.ok() && r->outcome() == "replaced" ? 1 : 0;
                                   });
  }
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(replaced, 1000);
  EXPECT_EQ(house_.endpoint.requests(), requests + 1);
}

TEST_F(ReportTest, WhoeverReportsTooOftenIsToldToWait) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  (void)Report(Version());
  absl::Status last;
  for (int i = 0; i < 10; ++i) last = Report(Version()).status();
  EXPECT_TRUE(absl::IsResourceExhausted(last)) << last;
  EXPECT_TRUE(base::RetryOf(last).has_value());
  EXPECT_TRUE(Report(Version(), "unix:uid=2,pid=1").ok());
}

TEST_F(ReportTest, VersionsThatNeverWereAreRefused) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Report(Version() + 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Report(0).status()));
}

TEST_F(ReportTest, ATokenThatTheServiceAcceptsStays) {
  ASSERT_TRUE(house_.UseMachineToken(", test: { url: https://h/me }").ok());
  const int requests = house_.endpoint.requests();
  EXPECT_EQ(Report(Version())->outcome(), "accepted");
  EXPECT_EQ(house_.endpoint.requests(), requests);
  house_.Advance(absl::Minutes(1));
  house_.endpoint.AnswerNextTry(401);
  EXPECT_EQ(Report(Version())->outcome(), "replaced");
}

TEST_F(ReportTest, AFailedReplacementIsAnError) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  house_.endpoint.InjectNext({fakes::TokenFault::Kind::kRefuseClient, {}, {}});
  EXPECT_FALSE(Report(Version()).ok());
}

TEST_F(ReportTest, AServerThatAskedForTimeGetsIt) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  house_.endpoint.SetFaults([] {
    return fakes::TokenFault{fakes::TokenFault::Kind::kTransient, {}, absl::Hours(1)};
  });
  const int before = house_.endpoint.requests();
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.endpoint.requests() > before; }, absl::Minutes(10)));
  for (int i = 0; i < 10; ++i) {
    house_.Advance(absl::Seconds(61));
    const absl::Status refused = Report(Version()).status();
    EXPECT_EQ(base::ReasonOf(refused), "REFRESH_FAILED") << refused;
    EXPECT_GT(base::RetryOf(refused).value_or(absl::ZeroDuration()), absl::Minutes(10));
  }
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
}

// Its requests go nowhere, and that takes two minutes to be seen.
class SilentServerReportTest : public ReportTest {
 protected:
  static fakes::KeeperHouse::Options Silent() {
    fakes::KeeperHouse::Options options = Options();
    options.endpoint.timeout = absl::Minutes(2);
    return options;
  }
  SilentServerReportTest() : ReportTest(Silent()) {}
};

TEST_F(SilentServerReportTest, AThousandReportsWaitForHalfAMinute) {
  ASSERT_TRUE(house_.UseMachineToken().ok());
  house_.endpoint.InjectNext({fakes::TokenFault::Kind::kLoseRequest, {}, {}});
  v1::ReportRejectedRequest request;
  request.set_name("t");
  request.set_version(Version());
  int turned_away = 0;
  int late = 0;
  for (int i = 0; i < 1100; ++i) {
    house_.keeper().ReportRejected(
        kPrincipal, request, [&](const absl::StatusOr<v1::ReportRejectedResponse>& response) {
          const bool told = base::RetryOf(response.status()).has_value();
          turned_away += absl::IsResourceExhausted(response.status()) && told ? 1 : 0;
          late += absl::IsDeadlineExceeded(response.status()) ? 1 : 0;
        });
  }
  house_.Advance(absl::Seconds(29));
  EXPECT_EQ(turned_away, 100);
  EXPECT_EQ(late, 0);
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(late, 1000);
  // Those have made room.
  EXPECT_TRUE(absl::IsDeadlineExceeded(Report(Version()).status()));
}

TEST_F(ReportTest, AProviderThatIsGoneWhenAKeyTurnsOutDeadStopsNothing) {
  ASSERT_TRUE(house_
                  .Apply("providers: { p: { recipe: fake } }\n"
                         "credentials: { t: { provider: p, rotate: { every: 30d } } }\n"
                         "policies: { x: { principals: [ { unix: { user: root } } ], "
                         "allow: [read], on: [t] } }\n")
                  .ok());
  house_.Advance(absl::Hours(1));
  ASSERT_NE(house_.Published("t"), "");
  v1::ReportRejectedRequest request;
  request.set_name("t");
  request.set_version(Version());
  house_.provider->InjectNext(fakes::ProviderCall::kVerify,
                              {fakes::ProviderFault::Kind::kRefuse, {}, {}});
  std::optional<absl::StatusOr<v1::ReportRejectedResponse>> got;
  house_.keeper().ReportRejected(kPrincipal, request, [&](auto r) { got = std::move(r); });
  house_.Advance(absl::ZeroDuration());
  ASSERT_FALSE(got.has_value());
  house_.registry().Remove(true);
  ASSERT_TRUE(house_.Delete("policy", "x").ok());  // providers are made anew
  ASSERT_TRUE(house_.AdvanceUntil([&] { return got.has_value(); }, absl::Minutes(1)));
  ASSERT_TRUE(got->ok()) << got->status();
  EXPECT_EQ((*got)->outcome(), "accepted");
}

TEST_F(ReportTest, ATokenInDoubtIsNotRefreshedOnAWord) {
  ASSERT_TRUE(house_
                  .Apply("credentials:\n  t:\n    oauth: { token_url: https://h/t, "
                         "grant: refresh_token, client_id: c, client_auth: none }\n")
                  .ok());
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("c")).ok());
  house_.Advance(absl::Seconds(1));
  house_.endpoint.InjectNext({fakes::TokenFault::Kind::kLoseRequest, {}, {}});
  const int before = house_.endpoint.requests();
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.endpoint.requests() > before; }, absl::Hours(1)));
  house_.Advance(absl::Seconds(31));
  EXPECT_EQ(Report(Version())->outcome(), "accepted");
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
}

}  // namespace
}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// Reports that an API key was rejected: the service is asked, and only a key that it says is dead
// is rotated, once a minute at most.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using fakes::ProviderCall;
using fakes::ProviderFault;
using providers::ProviderClass;
using Response = absl::StatusOr<v1::ReportRejectedResponse>;

constexpr char kPrincipal[] = "unix:uid=1000,user=a,gid=1000,pid=7";

KeeperHouse::Options Of(ProviderClass c, bool can_verify = true) {
  KeeperHouse::Options options;
  options.provider.traits.provider_class = c;
  options.provider.traits.can_verify = can_verify;
  return options;
}

class House {
 public:
  explicit House(KeeperHouse::Options options = Of(ProviderClass::kTagged))
      : house(std::move(options)) {}
  void Use(const std::string& rotate = "{ every: 30d, jitter: 0% }", const std::string& more = "") {
    const absl::Status applied =
        house.Apply(absl::StrCat("providers: { p: { recipe: fake } }\ncredentials:\n",
                                 "  k: { provider: p, ", more, "rotate: ", rotate, " }\n"));
    ASSERT_TRUE(applied.ok()) << applied;
    ASSERT_TRUE(house.AdvanceUntil([&] { return house.Published("k") != ""; }, absl::Minutes(5)));
    ToRest();
    verifies = house.provider->calls(ProviderCall::kVerify);
    creates = house.provider->calls(ProviderCall::kCreate);
  }
  void ToRest() {
    ASSERT_TRUE(
        house.AdvanceUntil([&] { return house.RotationState("k") == ""; }, absl::Hours(24 * 8)));
  }
  uint64_t Version() { return house.sink.versions.at("k").version; }
  bool Works() { return house.provider->Works(house.Published("k")); }
  // Somebody deletes the current key at the service.
  void Kill() {
    for (const auto& key : house.provider->existing_keys()) {
      if (key.value == house.Published("k")) house.provider->DeleteKey(key.id);
    }
    ASSERT_FALSE(Works());
  }
  // Of class self_roll.
  void UseKeyMadeByHand() {
    ASSERT_TRUE(house
                    .Apply("providers: { p: { recipe: fake } }\ncredentials:\n  k: { provider: p, "
                           "allow_gap: true, accept_loss: true, rotate: { every: 30d } }\n")
                    .ok());
    const auto [id, value] = house.provider->MakeKeyByHand();
    ASSERT_TRUE(house.Put("k", std::string(value.Primary()->Reveal()), id).ok());
  }
  std::shared_ptr<std::optional<Response>> Reporting(const std::string& name, uint64_t version,
                                                     const std::string& principal = kPrincipal) {
    v1::ReportRejectedRequest request;
    request.set_name(name);
    request.set_version(version);
    auto got = std::make_shared<std::optional<Response>>();
    house.keeper().ReportRejected(principal, request, [got](Response r) { *got = std::move(r); });
    house.Advance(absl::ZeroDuration());
    return got;
  }
  Response Report(uint64_t version, const std::string& principal = kPrincipal,
                  const std::string& name = "k") {
    const auto got = Reporting(name, version, principal);
    house.AdvanceUntil([&] { return got->has_value(); }, absl::Minutes(1));
    return got->value_or(absl::InternalError("no answer"));
  }
  std::string Outcome(uint64_t version) {
    const Response response = Report(version);
    return response.ok() ? response->outcome() : response.status().ToString();
  }
  int Verifies() { return house.provider->calls(ProviderCall::kVerify) - verifies; }
  int Creates() { return house.provider->calls(ProviderCall::kCreate) - creates; }

  KeeperHouse house;
  int verifies = 0;
  int creates = 0;
};

TEST(RejectedKeys, AKeyThatTheServiceAcceptsStays) {
  House h;
  h.Use();
  const std::string key = h.house.Published("k");
  EXPECT_EQ(h.Outcome(h.Version()), "accepted");
  EXPECT_EQ(h.Verifies(), 1);
  h.house.Advance(absl::Hours(2));
  EXPECT_EQ(h.house.Published("k"), key);
  EXPECT_EQ(h.Creates(), 0);
  EXPECT_EQ(h.house.log.Failures("VERIFY_FAILED"), 0);
}

TEST(RejectedKeys, ADeadKeyIsRotatedOnceAMinute) {
  House h;
  h.Use("{ every: 30d, jitter: 0%, grace: 10s }");
  const uint64_t first = h.Version();
  h.Kill();
  EXPECT_EQ(h.Outcome(first), "rotating");
  EXPECT_EQ(h.house.log.Failures("VERIFY_FAILED"), 1);
  ASSERT_TRUE(h.house.AdvanceUntil([&] { return h.Version() > first; }, absl::Seconds(20)));
  EXPECT_TRUE(h.Works());
  EXPECT_EQ(h.Creates(), 1);
  EXPECT_EQ(h.Outcome(first), "newer");
  // The new one is not looked at before a minute is over, though it dies at once.
  const uint64_t second = h.Version();
  h.Kill();
  const int verifies = h.Verifies();
  EXPECT_EQ(h.Outcome(second), "debounced");
  EXPECT_EQ(h.Verifies(), verifies);
  h.ToRest();
  EXPECT_EQ(h.Creates(), 1);
  h.house.Advance(absl::Minutes(1));
  EXPECT_EQ(h.Outcome(second), "rotating");
  ASSERT_TRUE(h.house.AdvanceUntil([&] { return h.Version() > second; }, absl::Seconds(20)));
  EXPECT_EQ(h.Creates(), 2);
  EXPECT_TRUE(h.Works());
}

TEST(RejectedKeys, WhoeverReportsAKeyInItsMinuteMakesNoWork) {
  House h;
  h.Use();
  EXPECT_EQ(h.Outcome(h.Version()), "accepted");
  h.Kill();
  EXPECT_EQ(h.Outcome(h.Version()), "debounced");
  EXPECT_EQ(h.Verifies(), 1);
  h.house.Advance(absl::Minutes(1));
  EXPECT_EQ(h.Outcome(h.Version()), "rotating");
}

TEST(RejectedKeys, TheBucketIsTheCallersAndNotTheKeys) {
  House h;
  h.Use();
  std::string yaml = "credentials:\n";
  for (int i = 0; i < 12; ++i) absl::StrAppend(&yaml, "  s", i, ": { static: {} }\n");
  ASSERT_TRUE(h.house.Apply(yaml).ok());
  for (int i = 0; i < 10; ++i) {
    const std::string name = absl::StrCat("s", i);
    ASSERT_TRUE(h.house.Put(name, "v").ok());
    EXPECT_EQ(h.Report(1, kPrincipal, name)->outcome(), "accepted") << "nobody can be asked";
  }
  const absl::Status refused = h.Report(h.Version()).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(base::ReasonOf(refused), "TOO_MANY_REPORTS");
  EXPECT_EQ(base::RetryOf(refused).value_or(absl::ZeroDuration()), absl::Seconds(6));
  EXPECT_EQ(h.Verifies(), 0);
  EXPECT_TRUE(h.Report(h.Version(), "unix:uid=1001,user=b,gid=1,pid=8").ok());
  EXPECT_EQ(h.Verifies(), 1);
}

TEST(RejectedKeys, AnUnclearAnswerSaysNothingAboutTheKey) {
  for (const auto kind : {ProviderFault::Kind::kLoseReply, ProviderFault::Kind::kTransient,
                          ProviderFault::Kind::kUnreadable}) {
    House h;
    h.Use();
    h.house.provider->InjectNext(ProviderCall::kVerify, {kind, {}, {}});
    EXPECT_EQ(h.Outcome(h.Version()), "accepted");
    h.house.Advance(absl::Minutes(1));
    EXPECT_EQ(h.Creates(), 0);
    EXPECT_EQ(h.house.log.Failures("VERIFY_FAILED"), 0);
  }
}

TEST(RejectedKeys, WithoutAWayToAskAReportDoesNothing) {
  House h(Of(ProviderClass::kTagged, /*can_verify=*/false));
  h.Use();
  h.Kill();
  EXPECT_EQ(h.Outcome(h.Version()), "accepted");
  EXPECT_EQ(h.Creates(), 0);
}

TEST(RejectedKeys, OutsideItsWindowADeadKeyIsReportedAndLeft) {
  House h;  // it is a Monday
  h.Use("{ every: 30d, jitter: 0%, window: { days: [sat], from: \"02:00\", to: \"06:00\" } }");
  h.Kill();
  EXPECT_EQ(h.Outcome(h.Version()), "rejected");
  EXPECT_EQ(h.house.log.Count({"VERIFY_FAILED", "keyturn rotate k"}), 1);
  h.house.Advance(absl::Minutes(30));
  EXPECT_EQ(h.Creates(), 0);
}

TEST(RejectedKeys, ADeadKeyDoesNotMakeItsOwnSuccessor) {
  House h(Of(ProviderClass::kSelfRoll));
  h.UseKeyMadeByHand();
  h.Kill();
  EXPECT_EQ(h.Outcome(1), "rejected");
  EXPECT_EQ(h.house.log.Count({"VERIFY_FAILED", "keyturn put k"}), 1);
  EXPECT_EQ(h.house.provider->calls(ProviderCall::kCreate), 0);
}

TEST(RejectedKeys, AKeyThatWorksAgainEndsTheAlarm) {
  House h(Of(ProviderClass::kSelfRoll));
  h.UseKeyMadeByHand();
  h.house.provider->InjectNext(ProviderCall::kVerify, {ProviderFault::Kind::kRefuse, {}, {}});
  EXPECT_EQ(h.Outcome(1), "rejected");
  EXPECT_EQ(h.house.failures().List().size(), 1u);
  h.house.Advance(absl::Minutes(1));
  EXPECT_EQ(h.Outcome(1), "accepted");
  EXPECT_EQ(h.house.log.Resolved("VERIFY_FAILED"), 1);
}

TEST(RejectedKeys, WhatIsBeingReplacedAnywayIsNotAskedAbout) {
  House h;
  h.Use("{ every: 30d, jitter: 0%, grace: 1h }");
  v1::RotateRequest rotate;
  rotate.set_name("k");
  h.house.keeper().Rotate(
      rotate, [](const auto&) {}, [](const absl::Status&) {});
  ASSERT_TRUE(
      h.house.AdvanceUntil([&] { return h.house.RotationState("k") != ""; }, absl::Seconds(9)));
  const int verifies = h.Verifies();
  const auto answer = h.Reporting("k", h.Version());
  ASSERT_TRUE(answer->has_value() && (**answer).ok());
  EXPECT_EQ((**answer)->outcome(), "accepted");
  EXPECT_EQ(h.Verifies(), verifies);
}

TEST(RejectedKeys, AKeyThatIsReplacedWhileTheServiceIsAskedIsOldNews) {
  House h;
  h.Use();
  const uint64_t version = h.Version();
  h.house.provider->InjectNext(ProviderCall::kVerify, {ProviderFault::Kind::kLoseReply, {}, {}});
  const auto answer = h.Reporting("k", version);
  v1::RotateRequest rotate;
  rotate.set_name("k");
  h.house.keeper().Rotate(
      rotate, [](const auto&) {}, [](const absl::Status&) {});
  ASSERT_TRUE(h.house.AdvanceUntil([&] { return h.Version() > version; }, absl::Seconds(20)));
  EXPECT_FALSE(answer->has_value());
  h.house.Advance(absl::Seconds(30));
  ASSERT_TRUE(answer->has_value() && (**answer).ok());
  EXPECT_EQ((**answer)->outcome(), "newer");
  EXPECT_EQ((**answer)->current_version(), h.Version());
}

TEST(RejectedKeys, AKeyThatIsDeletedWhileTheServiceIsAskedIsNobodys) {
  House h(Of(ProviderClass::kManual));
  ASSERT_TRUE(h.house
                  .Apply("providers: { p: { recipe: fake } }\ncredentials:\n  k: { provider: p, "
                         "rotate: { every: 30d } }\n")
                  .ok());
  const auto [id, value] = h.house.provider->MakeKeyByHand();
  (void)h.house.Put("k", std::string(value.Primary()->Reveal()), id);
  ASSERT_TRUE(h.house.AdvanceUntil([&] { return h.house.Published("k") != ""; }, absl::Minutes(1)));
  h.ToRest();
  const auto answer = h.Reporting("k", 1);
  const absl::Status deleted = h.house.Delete("credential", "k");
  ASSERT_TRUE(deleted.ok()) << deleted;
  h.house.Advance(absl::Seconds(1));
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE(absl::IsAborted((**answer).status())) << (**answer).status();
}

}  // namespace
}  // namespace keyturn::lifecycle

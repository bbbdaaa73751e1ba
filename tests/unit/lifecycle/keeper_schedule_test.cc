// SPDX-License-Identifier: Apache-2.0
// When the Keeper as a whole begins rotations: windows, expiries, downtime, lateness; and what it
// says about the future.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/lifecycle/keeper.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using fakes::ProviderCall;
using Kind = fakes::ProviderFault::Kind;

KeeperHouse::Options Tagged(absl::Duration key_lifetime = absl::ZeroDuration()) {
  KeeperHouse::Options options;
  options.provider.traits.provider_class = providers::ProviderClass::kTagged;
  options.provider.manager_secret = "admin-secret";
  options.provider.key_lifetime = key_lifetime;
  return options;
}

std::string Yaml(const std::string& rotate) {
  return absl::StrCat(
      "providers:\n  p: { recipe: fake, manager: p/admin }\n"
      "credentials:\n  p/admin: { static: {} }\n"
      "  app/key: { provider: p, rotate: { ",
      rotate, " } }\n");
}

// Monday noon, UTC, is when every house opens.
class Scheduled {
 public:
  explicit Scheduled(const std::string& rotate, absl::Duration key_lifetime = absl::ZeroDuration())
      : house(Tagged(key_lifetime)) {
    EXPECT_TRUE(house.Apply(Yaml(rotate)).ok());
    EXPECT_TRUE(house.Put("p/admin", "admin-secret").ok());
    EXPECT_TRUE(house.AdvanceUntil([&] { return Key() != ""; }, absl::Minutes(5)));
    EXPECT_TRUE(house.AdvanceUntil([&] { return house.RotationState("app/key").empty(); },
                                   absl::Minutes(5)));
  }
  std::string Key() { return house.Published("app/key"); }
  // When the key is replaced; `limit` from now at the latest.
  std::string NextChange(absl::Duration limit) {
    const std::string old = Key();
    if (!house.AdvanceUntil([&] { return Key() != old; }, limit)) return "never";
    return absl::FormatTime("%a %H:%M", house.clock.WallNow(), absl::UTCTimeZone());
  }
  KeeperHouse house;
};

constexpr char kSaturday[] = "window: { days: [sat], from: \"02:00\", to: \"06:00\" }";

TEST(KeeperSchedule, CronIsKept) {
  Scheduled s("cron: \"30 3 * * wed,fri\", zone: Europe/Berlin");
  EXPECT_EQ(s.NextChange(absl::Hours(7 * 24)), "Wed 02:30");
  EXPECT_EQ(s.NextChange(absl::Hours(7 * 24)), "Fri 02:30");
  EXPECT_EQ(s.NextChange(absl::Hours(7 * 24)), "Wed 02:30");
}

TEST(KeeperSchedule, ARotationWaitsForItsWindow) {
  Scheduled s(absl::StrCat("every: 1d, jitter: 0%, ", kSaturday));
  EXPECT_EQ(s.NextChange(absl::Hours(7 * 24)), "Sat 02:00");
  EXPECT_EQ(s.NextChange(absl::Hours(7 * 24)), "Sat 02:00");
  EXPECT_EQ(s.house.log.Count({"rotation_outside_window"}), 0);
}

TEST(KeeperSchedule, AlsoAfterDowntimeAndWhenItFails) {
  Scheduled s(absl::StrCat("every: 1d, jitter: 0%, ", kSaturday));
  s.house.Crash();
  s.house.Advance(absl::Hours(6 * 24));  // sunday: the window was missed
  ASSERT_TRUE(s.house.Start().ok());
  // Every attempt of the next window fails, and none is made after it.
  s.house.provider->SetFaults([](ProviderCall call) {
    fakes::ProviderFault fault;
    if (call == ProviderCall::kCreate) fault.kind = Kind::kRefuse;
    return fault;
  });
  EXPECT_EQ(s.NextChange(absl::Hours(6 * 24 + 1)), "never");
  EXPECT_GT(s.house.provider->calls(ProviderCall::kCreate), 10);
  const int creates = s.house.provider->calls(ProviderCall::kCreate);
  s.house.provider->SetFaults([](ProviderCall) { return fakes::ProviderFault(); });
  EXPECT_EQ(s.NextChange(absl::Hours(7 * 24)), "Sat 02:00");
  EXPECT_EQ(s.house.provider->calls(ProviderCall::kCreate), creates + 1);
}

TEST(KeeperSchedule, AnAdministratorNeedsNoWindow) {
  Scheduled s(absl::StrCat("every: 1d, ", kSaturday));
  v1::RotateRequest request;
  request.set_name("app/key");
  s.house.keeper().Rotate(
      std::move(request), [](const v1::RotateResponse&) {}, [](const absl::Status&) {});
  EXPECT_EQ(s.NextChange(absl::Minutes(1)), "Mon 12:00");
}

TEST(KeeperSchedule, AKeyThatExpiresIsReplacedInTimeEachTime) {
  Scheduled s("every: 90d", absl::Hours(9));
  EXPECT_EQ(s.NextChange(absl::Hours(9)), "Mon 18:00");
  EXPECT_EQ(s.NextChange(absl::Hours(9)), "Tue 00:00");
}

TEST(KeeperSchedule, AWindowIsNotWaitedForPastTheExpiry) {
  Scheduled s(absl::StrCat("every: 90d, ", kSaturday), absl::Hours(72));
  EXPECT_EQ(s.NextChange(absl::Hours(72)), "Wed 12:00");
  EXPECT_EQ(s.house.log.Count({"rotation_outside_window", "app/key"}), 1);
}

// Many credentials of one host, all overdue after downtime.
class Downtime {
 public:
  explicit Downtime(int count) {
    std::string yaml = Yaml("every: 1d");
    for (int i = 0; i < count; ++i) {
      absl::StrAppend(&yaml, "  app/k", i, ": { provider: p, rotate: { every: 1d } }\n");
    }
    absl::StrAppend(&yaml, "  zz/urgent: { provider: p, rotate: { every: 1d } }\n");
    EXPECT_TRUE(house.Apply(yaml).ok());
    v1::PutRequest put;
    put.set_name("zz/urgent");
    put.add_fields()->set_value("brought-by-hand");
    put.set_provider_key_id(house.provider->AddForeignKey());
    put.mutable_expires_at()->set_seconds(
        absl::ToUnixSeconds(house.clock.WallNow() + absl::Hours(72)));
    house.keeper().Put(std::move(put), [](const absl::StatusOr<v1::PutResponse>& r) {
      EXPECT_TRUE(r.ok()) << r.status();
    });
    EXPECT_TRUE(house.Put("p/admin", "admin-secret").ok());
    house.Advance(absl::Minutes(10));
    house.Crash();
    house.Advance(absl::Hours(71.5) - absl::Minutes(10));
  }
  // The rotations of the next ten minutes: what is handed out, and when.
  std::vector<std::pair<absl::Duration, std::string>> Changes() {
    std::vector<std::pair<absl::Duration, std::string>> changes;
    EXPECT_TRUE(house.Start().ok());
    const absl::Time from = house.clock.WallNow();
    std::map<std::string, uint64_t> versions;
    for (const auto& [name, version] : house.sink.versions) versions[name] = version.version;
    house.sink.on_publish = [&](const PublishedVersion& version) {
      if (std::exchange(versions[version.name], version.version) != version.version) {
        changes.emplace_back(house.clock.WallNow() - from, version.name);
      }
    };
    house.Advance(absl::Minutes(10));
    house.sink.on_publish = nullptr;
    return changes;
  }
  KeeperHouse house{Tagged()};
};

TEST(KeeperSchedule, OverdueRotationsOfOneHostTakeTurnsAndUrgentOnesComeFirst) {
  constexpr int kMany = 60;
  Downtime downtime(kMany);
  const auto changes = downtime.Changes();
  ASSERT_EQ(changes.size(), kMany + 2u) << "some were not replaced, or twice";
  EXPECT_EQ(changes.front().second, "zz/urgent");
  EXPECT_LT(changes.front().first, absl::Seconds(1));
  for (size_t i = 1; i < changes.size(); ++i) {
    EXPECT_GE(changes[i].first - changes[i - 1].first, absl::Milliseconds(1990))
        << changes[i].second;
  }
  EXPECT_LT(changes.back().first, absl::Minutes(4));
  // The same again in another life.
  EXPECT_EQ(Downtime(kMany).Changes(), changes);
}

TEST(KeeperSchedule, AFewOverdueRotationsAreSpreadOverAMinute) {
  const auto changes = Downtime(3).Changes();
  ASSERT_EQ(changes.size(), 5u);
  EXPECT_LT(changes.back().first, absl::Seconds(63));
  EXPECT_GT(changes.back().first, absl::Seconds(12));
}

TEST(KeeperSchedule, AfterSleepTheyTakeTurnsAsWell) {
  Downtime downtime(20);
  ASSERT_EQ(downtime.Changes().size(), 22u);
  // Nothing runs for two days, then every timer is late at once.
  downtime.house.clock.Advance(absl::Hours(48));
  std::vector<absl::Time> creates;
  downtime.house.provider->SetFaults([&](ProviderCall call) {
    if (call == ProviderCall::kCreate) creates.push_back(downtime.house.clock.WallNow());
    return fakes::ProviderFault();
  });
  downtime.house.Advance(absl::Minutes(10));
  downtime.house.provider->SetFaults([](ProviderCall) { return fakes::ProviderFault(); });
  ASSERT_EQ(creates.size(), 22u);
  for (size_t i = 1; i < creates.size(); ++i) {
    EXPECT_GE(creates[i] - creates[i - 1], absl::Milliseconds(1990));
  }
}

TEST(KeeperSchedule, LatenessIsToldByCronToo) {
  Scheduled s("cron: \"0 0 * * *\"");
  s.house.provider->SetFaults([](ProviderCall call) {
    fakes::ProviderFault fault;
    if (call == ProviderCall::kCreate) fault.kind = Kind::kRefuse;
    return fault;
  });
  // Due at midnight, so late from 02:24 on.
  s.house.Advance(absl::Hours(14) + absl::Minutes(20));
  EXPECT_GT(s.house.log.Failures("ROTATION_FAILED"), 0);
  EXPECT_EQ(s.house.log.Failures("ROTATION_OVERDUE"), 0);
  s.house.Advance(absl::Minutes(10));
  EXPECT_GT(s.house.log.Failures("ROTATION_OVERDUE"), 0);
  s.house.provider->SetFaults([](ProviderCall) { return fakes::ProviderFault(); });
  s.house.Advance(absl::Minutes(10));
  EXPECT_EQ(s.house.log.Resolved("ROTATION_OVERDUE"), 1);
}

TEST(KeeperSchedule, ADryRunMakesNoCall) {
  Scheduled s("every: 1d");
  s.house.Advance(absl::Minutes(5));  // the look after the first rotation is over
  const std::string key = s.Key();
  const auto calls = [&] {
    return s.house.provider->calls(ProviderCall::kCreate) +
           s.house.provider->calls(ProviderCall::kList) +
           s.house.provider->calls(ProviderCall::kVerify) +
           s.house.provider->calls(ProviderCall::kRevoke);
  };
  const int before = calls();
  v1::RotateRequest request;
  request.set_name("app/key");
  request.set_dry_run(true);
  std::string steps;
  std::optional<absl::Status> end;
  s.house.keeper().Rotate(
      std::move(request),
      [&](const v1::RotateResponse& step) { absl::StrAppend(&steps, step.state(), " "); },
      [&](absl::Status status) { end = std::move(status); });
  s.house.Advance(absl::Minutes(1));
  ASSERT_TRUE(end.has_value());
  EXPECT_TRUE(end->ok()) << *end;
  EXPECT_TRUE(absl::StrContains(steps, "list create verify promote wait revoke")) << steps;
  EXPECT_EQ(calls(), before);
  EXPECT_EQ(s.Key(), key);
  EXPECT_EQ(s.house.RotationState("app/key"), "");
}

TEST(KeeperSchedule, TheCalendarKnowsThePlan) {
  Scheduled s(absl::StrCat("every: 1d, jitter: 0%, ", kSaturday));
  v1::CalendarRequest request;
  request.set_match("app/*");
  std::string entries;
  s.house.keeper().Calendar(request, [&](absl::StatusOr<v1::CalendarResponse> response) {
    ASSERT_TRUE(response.ok()) << response.status();
    for (const v1::CalendarEntry& entry : response->entries()) {
      absl::StrAppend(&entries, entry.what(), " ",
                      absl::FormatTime("%a %H:%M", absl::FromUnixSeconds(entry.at().seconds()),
                                       absl::UTCTimeZone()),
                      "\n");
    }
  });
  s.house.Advance(absl::ZeroDuration());
  EXPECT_EQ(entries,
            "rotation Sat 02:00\nrevoke Sat 03:00\nrotation Sat 02:00\nrevoke Sat 03:00\n");
}

}  // namespace
}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// The calendar: what it foresees of each kind of credential, and how much it shows.
#include "agent/lifecycle/calendar.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/test_store.h"

namespace keyturn::lifecycle {
namespace {

using providers::ProviderClass;
constexpr absl::Duration kDay = absl::Hours(24);

class CalendarTest : public testing::Test {
 protected:
  // A key made `age` ago, with a version to hand out.
  store::CredentialRecord Key(const std::string& name, absl::Duration every, absl::Duration age) {
    store::CredentialRecord record;
    record.name = name;
    record.spec.set_provider("p");
    record.spec.mutable_rotate()->mutable_every()->set_seconds(absl::ToInt64Seconds(every));
    record.spec.mutable_rotate()->set_jitter("0%");
    record.spec.mutable_rotate()->mutable_grace()->mutable_min()->set_seconds(3600);
    record.current_version = record.last_version = 1;
    record.last_rotated = now_ - age;
    record.next_due = record.last_rotated + every;
    return record;
  }
  void Hold(const store::CredentialRecord& record, absl::Time expires_at = store::kNever) {
    store::VersionRecord version;
    version.credential = record.name;
    version.number = record.current_version;
    version.state = store::VersionState::kCurrent;
    version.created_at = version.promoted_at = record.last_rotated;
    version.expires_at = expires_at;
    store::Transaction transaction;
    transaction.Put(record);
    if (version.number != 0) transaction.Put(version);
    ASSERT_TRUE(ledger_.Commit(transaction).ok());
    if (record.next_due != store::kNever && !record.spec.provider().empty()) {
      rotation_at_[record.name] = record.next_due;
    }
  }
  template <class Record>
  void Put(const Record& record) {
    store::Transaction transaction;
    transaction.Put(record);
    ASSERT_TRUE(ledger_.Commit(transaction).ok());
  }
  v1::CalendarResponse Calendar(absl::Duration ahead, const std::string& match = "") {
    v1::CalendarRequest request;
    request.set_match(match);
    request.mutable_ahead()->set_seconds(absl::ToInt64Seconds(ahead));
    const auto at = [](const std::map<std::string, absl::Time>& times, const std::string& name) {
      const auto found = times.find(name);
      return found == times.end() ? absl::InfiniteFuture() : found->second;
    };
    const auto response = ViewCalendar(
        request, {ledger_, now_, [&](const std::string& name) { return at(rotation_at_, name); },
                  [&](const std::string& name) { return at(refresh_at_, name); },
                  [&](const std::string&) { return std::optional<ProviderClass>(class_); }});
    EXPECT_TRUE(response.ok()) << response.status();
    return *response;
  }
  // `rotation +24h: detail`, one a line.
  std::string Lines(absl::Duration ahead, const std::string& match = "") {
    std::vector<std::string> lines;
    const v1::CalendarResponse response = Calendar(ahead, match);
    for (const v1::CalendarEntry& entry : response.entries()) {
      const absl::Duration in = absl::FromUnixSeconds(entry.at().seconds()) - now_;
      lines.push_back(absl::StrCat("+", absl::ToDoubleHours(in), "h ", entry.credential(), " ",
                                   entry.what(), ": ", entry.detail()));
    }
    return absl::StrJoin(lines, "\n");
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'767'614'400);
  fakes::TestStore store_;
  Ledger ledger_{store_.store()};
  std::map<std::string, absl::Time> rotation_at_;
  std::map<std::string, absl::Time> refresh_at_;
  ProviderClass class_ = ProviderClass::kTagged;
};

TEST_F(CalendarTest, RotationsAndEndsOfGraceSoonestFirst) {
  Hold(Key("b", kDay, 12 * absl::Hours(1)));
  Hold(Key("a", 10 * kDay, 9 * kDay));
  EXPECT_EQ(Lines(2 * kDay),
            "+12h b rotation: every 1d\n"
            "+13h b revoke: the key before\n"
            "+24h a rotation: every 10d\n"
            "+25h a revoke: the key before\n"
            "+36h b rotation: every 1d\n"
            "+37h b revoke: the key before");
  EXPECT_EQ(Lines(kDay, "a"), "+24h a rotation: every 10d");
}

TEST_F(CalendarTest, KeysThatExpireAreRotatedBeforeAgainAndAgain) {
  // A lifetime of 9 h is rotated every 6 h, whatever `every` says.
  store::CredentialRecord record = Key("a", 90 * kDay, absl::ZeroDuration());
  record.next_due = now_ + absl::Hours(6);
  Hold(record, now_ + absl::Hours(9));
  EXPECT_EQ(Lines(absl::Hours(12)),
            "+6h a rotation: before the key expires\n"
            "+7h a revoke: the key before\n"
            "+9h a expiry: version 1, unless rotated before\n"
            "+12h a rotation: before the key expires");
}

TEST_F(CalendarTest, AFirstKeyHasNothingToRevoke) {
  store::CredentialRecord record = Key("a", kDay, absl::ZeroDuration());
  record.current_version = 0;
  record.last_rotated = record.next_due = store::kNever;
  Hold(record);
  EXPECT_EQ(Lines(absl::Hours(25)), "") << "nothing is planned while the manager has no value";
  rotation_at_["a"] = now_;
  EXPECT_EQ(Lines(absl::Hours(24)),
            "+0h a rotation: the first key\n"
            "+24h a rotation: every 1d");
}

TEST_F(CalendarTest, AnOverdueRotationIsAheadAndAnOpenOneIsNot) {
  store::CredentialRecord record = Key("a", kDay, 2 * kDay);
  record.consecutive_failures = 3;
  Hold(record);
  rotation_at_["a"] = now_ + absl::Minutes(30);
  EXPECT_EQ(Lines(absl::Hours(1)), "+0.5h a rotation: another attempt, after 3 failed");
  rotation_at_["a"] = now_ - absl::Minutes(1);
  store::RotationRecord row;
  row.credential = "a";
  row.state = "creating";
  Put(row);
  EXPECT_EQ(Lines(absl::Hours(1)), "");
}

TEST_F(CalendarTest, TheGraceThatRunsEnds) {
  Hold(Key("a", 10 * kDay, absl::ZeroDuration()));
  store::RotationRecord row;
  row.credential = "a";
  row.state = "retiring";
  row.old_version = 7;
  row.grace_until = now_ + absl::Hours(2);
  Put(row);
  EXPECT_EQ(Lines(kDay), "+2h a revoke: version 7");
  row.grace_max = now_ + absl::Hours(5);
  Put(row);
  EXPECT_EQ(Lines(kDay),
            "+5h a revoke: version 7 at the latest; sooner once all consumers have moved on");
}

TEST_F(CalendarTest, KeysReplacedInPlaceHaveNoGrace) {
  class_ = ProviderClass::kRoll;
  Hold(Key("a", 10 * kDay, 9 * kDay));
  EXPECT_EQ(Lines(2 * kDay), "+24h a rotation: every 10d");
}

TEST_F(CalendarTest, APersonIsReminded) {
  class_ = ProviderClass::kManual;
  Hold(Key("a", 90 * kDay, 80 * kDay), now_ + 20 * kDay);
  EXPECT_EQ(Lines(30 * kDay),
            "+72h a reminder: in 7 days: keyturn put a\n"
            "+168h a reminder: in 3 days: keyturn put a\n"
            "+216h a reminder: in 1 day: keyturn put a\n"
            "+240h a reminder: due: keyturn put a\n"
            "+480h a expiry: version 1: keyturn put a");
  Hold(Key("a", 90 * kDay, 91 * kDay));
  EXPECT_EQ(Lines(30 * kDay), "+0h a reminder: overdue: keyturn put a");
}

TEST_F(CalendarTest, TokensAreRefreshedAndStoredValuesExpire) {
  store::CredentialRecord token = Key("token", kDay, absl::ZeroDuration());
  token.spec.Clear();
  token.spec.mutable_oauth()->set_grant(v1::REFRESH_TOKEN);
  Hold(token, now_ + absl::Hours(1));
  refresh_at_["token"] = now_ + absl::Minutes(45);
  store::RefreshRecord refresh;
  refresh.credential = "token";
  refresh.refresh_token_expires_at = now_ + 20 * kDay;
  Put(refresh);
  store::CredentialRecord fixed = Key("fixed", kDay, absl::ZeroDuration());
  fixed.spec.Clear();
  fixed.spec.mutable_static_();
  Hold(fixed, now_ + 3 * kDay);
  EXPECT_EQ(Lines(30 * kDay),
            "+0.75h token refresh: and then each time about three quarters of its lifetime of 1h "
            "have passed\n"
            "+72h fixed expiry: version 1: keyturn put fixed\n"
            "+480h token expiry: the refresh token; a person must consent again: keyturn put "
            "token");
  refresh_at_.clear();
  EXPECT_EQ(Lines(kDay), "+1h token expiry: no refresh is planned");
}

TEST_F(CalendarTest, MuchIsCutAndSaidToBe) {
  Hold(Key("often", absl::Hours(2), absl::ZeroDuration()));
  const v1::CalendarResponse one = Calendar(100 * kDay);
  EXPECT_EQ(one.entries_size(), 50);
  EXPECT_TRUE(one.truncated());
  EXPECT_FALSE(Calendar(kDay).truncated());
  for (int i = 0; i < 30; ++i) {
    Hold(Key(absl::StrCat("k", i), absl::Hours(2), absl::Minutes(i)));
  }
  const v1::CalendarResponse all = Calendar(100 * kDay);
  EXPECT_EQ(all.entries_size(), 1000);
  EXPECT_TRUE(all.truncated());
  for (int i = 1; i < all.entries_size(); ++i) {
    EXPECT_GE(all.entries(i).at().seconds(), all.entries(i - 1).at().seconds());
  }
  // The soonest are kept: 31 credentials with two entries every two hours.
  EXPECT_LT(absl::FromUnixSeconds(all.entries(999).at().seconds()), now_ + absl::Hours(36));
}

TEST_F(CalendarTest, LooksNoFurtherThanItCan) {
  v1::CalendarRequest request;
  for (const int64_t days : {-1, 401, 4'000'000}) {
    request.mutable_ahead()->set_seconds(days * 24 * 3600);
    EXPECT_TRUE(
        absl::IsInvalidArgument(ViewCalendar(request, {ledger_, now_, {}, {}, {}}).status()))
        << days;
  }
}

}  // namespace
}  // namespace keyturn::lifecycle

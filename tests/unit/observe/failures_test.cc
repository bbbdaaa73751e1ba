// SPDX-License-Identifier: Apache-2.0
// What people are alerted on: one line a failed attempt, one line when it is over.
#include "agent/observe/failures.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/fakes/recording_log.h"
#include "tests/fakes/simulated_clock.h"

namespace keyturn::observe {
namespace {

class FailuresTest : public testing::Test {
 protected:
  static Failure Of(FailureCode code, const std::string& credential) {
    Failure failure;
    failure.code = code;
    failure.credential = credential;
    failure.cause = "timeout";
    return failure;
  }
  nlohmann::json Last() { return nlohmann::json::parse(log_.lines().back()); }

  fakes::SimulatedClock clock_;
  fakes::RecordingLog log_;
  Failures failures_{log_, clock_};
};

TEST_F(FailuresTest, EachAttemptIsALineAndTheEndIsOne) {
  failures_.Open(Of(FailureCode::kRotationFailed, "a/b"));
  clock_.Advance(absl::Seconds(90));
  failures_.Open(Of(FailureCode::kRotationFailed, "a/b"));
  ASSERT_EQ(failures_.List().size(), 1u);
  failures_.Resolve(FailureCode::kRotationFailed, "a/b");
  failures_.Resolve(FailureCode::kRotationFailed, "a/b");
  EXPECT_EQ(log_.Failures("ROTATION_FAILED"), 2);
  EXPECT_EQ(log_.Resolved("ROTATION_FAILED"), 1);
  EXPECT_EQ(Last()["open_s"], 90) << "counts from the first attempt";
  EXPECT_EQ(Last()["dedupe_key"], "ROTATION_FAILED:a/b");
  EXPECT_TRUE(failures_.List().empty());
}

TEST_F(FailuresTest, WhatWasNeverOpenResolvesSilently) {
  failures_.Resolve(FailureCode::kStoreFull, "a/b");
  failures_.ResolveAll("a/b");
  EXPECT_TRUE(log_.lines().empty());
}

TEST_F(FailuresTest, ResolveAllEndsOneCredentialsFailuresOnly) {
  failures_.Open(Of(FailureCode::kRotationFailed, "a/b"));
  failures_.Open(Of(FailureCode::kStoreFull, "a/b"));
  failures_.Open(Of(FailureCode::kStoreFull, "a/c"));
  failures_.ResolveAll("a/b");
  ASSERT_EQ(failures_.List().size(), 1u);
  EXPECT_EQ(failures_.List().front().failure.credential, "a/c");
  EXPECT_FALSE(failures_.Find("a/b").has_value());
  EXPECT_TRUE(failures_.Find("a/c").has_value());
}

TEST_F(FailuresTest, RunwayIsNeverNegativeAndAbsentWhenInfinite) {
  Failure failure = Of(FailureCode::kExpiresSoon, "a/b");
  failures_.Open(failure);
  EXPECT_FALSE(Last().contains("runway_s"));
  for (absl::Duration past : {-absl::Hours(1), -absl::InfiniteDuration()}) {
    failure.runway = past;
    failures_.Open(failure);
    EXPECT_EQ(Last()["runway_s"], 0);
  }
  failure.runway = absl::Seconds(61.9);
  failures_.Open(failure);
  EXPECT_EQ(Last()["runway_s"], 61);
}

TEST_F(FailuresTest, WhatIsNotKnownIsLeftOut) {
  failures_.Open(Of(FailureCode::kRefreshFailed, "a/b"));
  for (const char* field : {"http_status", "next_retry", "detail"}) {
    EXPECT_FALSE(Last().contains(field)) << field;
  }
  Failure failure = Of(FailureCode::kRefreshFailed, "a/b");
  failure.http_status = 503;
  failure.next_retry = clock_.WallNow();
  failure.detail = "do this";
  failures_.Open(failure);
  EXPECT_EQ(Last()["http_status"], 503);
  EXPECT_EQ(Last()["next_retry"], "2026-01-05T12:00:00.000Z");
  EXPECT_EQ(Last()["detail"], "do this");
}

}  // namespace
}  // namespace keyturn::observe

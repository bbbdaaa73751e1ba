// SPDX-License-Identifier: Apache-2.0
// What travels with a status comes out as it went in.
#include "agent/base/error.h"

#include <gtest/gtest.h>

namespace keyturn::base {
namespace {

TEST(Error, ReasonMetadataAndRetryComeBack) {
  const Metadata metadata = {{"credential", "a/b"}, {"field", "params.x"}, {"empty", ""}};
  const absl::Status status =
      WithRetry(WithReason(absl::UnavailableError("no"), "REFRESH_FAILED", metadata),
                absl::Milliseconds(1500));
  EXPECT_EQ(status.message(), "no");
  EXPECT_EQ(ReasonOf(status), "REFRESH_FAILED");
  EXPECT_EQ(MetadataOf(status), metadata);
  EXPECT_EQ(RetryOf(status), absl::Milliseconds(1500));
}

TEST(Error, APlainStatusCarriesNothing) {
  const absl::Status plain = absl::InternalError("x");
  EXPECT_EQ(ReasonOf(plain), "");
  EXPECT_TRUE(MetadataOf(plain).empty());
  EXPECT_FALSE(RetryOf(plain).has_value());
}

TEST(Error, OkStaysOk) {
  EXPECT_TRUE(WithRetry(WithReason(absl::OkStatus(), "X", {{"a", "b"}}), absl::Seconds(1)).ok());
}

TEST(Error, ALaterReasonReplacesTheEarlier) {
  const absl::Status status = WithReason(WithReason(absl::InternalError("x"), "ONE"), "TWO");
  EXPECT_EQ(ReasonOf(status), "TWO");
}

}  // namespace
}  // namespace keyturn::base

// SPDX-License-Identifier: Apache-2.0
// The payloads never leave the process, so a plain text form is enough: one `key\x1fvalue` a line.
#include "agent/base/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace keyturn::base {
namespace {

constexpr char kReason[] = "keyturn/reason";
constexpr char kMetadata[] = "keyturn/metadata";
constexpr char kRetry[] = "keyturn/retry";

}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason, const Metadata& metadata) {
  if (status.ok()) return status;
  status.SetPayload(kReason, absl::Cord(reason));
  std::string lines;
  for (const auto& [key, value] : metadata) absl::StrAppend(&lines, key, "\x1f", value, "\n");
  if (!lines.empty()) status.SetPayload(kMetadata, absl::Cord(lines));
  return status;
}

absl::Status WithRetry(absl::Status status, absl::Duration retry_delay) {
  if (status.ok()) return status;
  status.SetPayload(kRetry, absl::Cord(absl::FormatDuration(retry_delay)));
  return status;
}

std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReason);
  return payload.has_value() ? std::string(*payload) : std::string();
}

Metadata MetadataOf(const absl::Status& status) {
  Metadata metadata;
  const auto payload = status.GetPayload(kMetadata);
  if (!payload.has_value()) return metadata;
  const std::string text(*payload);
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    metadata.push_back(absl::StrSplit(line, absl::MaxSplits('\x1f', 1)));
  }
  return metadata;
}

std::optional<absl::Duration> RetryOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetry);
  absl::Duration delay;
  if (!payload.has_value() || !absl::ParseDuration(std::string(*payload), &delay)) {
    return std::nullopt;
  }
  return delay;
}

}  // namespace keyturn::base

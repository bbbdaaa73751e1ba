// SPDX-License-Identifier: Apache-2.0
// Words for kinds, health and times.
#include "client/cli/summary.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/duration_text.h"
#include "client/lib/messages.h"

namespace keyturn::cli {

std::string KindWord(v1::CredentialKind kind) {
  return kind == v1::CREDENTIAL_KIND_UNSPECIFIED
             ? ""
             : absl::AsciiStrToLower(v1::CredentialKind_Name(kind));
}

std::string HealthWord(v1::Health health) {
  return health == v1::HEALTH_UNSPECIFIED ? "" : absl::AsciiStrToLower(v1::Health_Name(health));
}

std::string RelativeWord(bool present, const google::protobuf::Timestamp& time, absl::Time now) {
  return present ? FormatRelative(client::TimeOf(time), now) : "";
}

std::string TimeWord(bool present, const google::protobuf::Timestamp& time, absl::Time now) {
  if (!present) return "";
  const absl::Time at = client::TimeOf(time);
  return absl::StrCat(FormatLocal(at, absl::LocalTimeZone()), " (", FormatRelative(at, now), ")");
}

std::string DurationWord(bool present, const google::protobuf::Duration& duration) {
  return present ? ReadableDuration(client::DurationOf(duration)) : "";
}

std::string VersionWord(uint64_t version) { return version == 0 ? "" : absl::StrCat(version); }

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/local_time.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace keyturn::lifecycle {
namespace {

// abseil would open any file of that name, and take some words of its own for zones.
bool LooksLikeAZone(absl::string_view name) {
  return name.size() <= 64 && absl::ascii_isupper(static_cast<unsigned char>(name.front())) &&
         !absl::StrContains(name, "..") && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '/' || c == '_' ||
                  c == '-' || c == '+';
         });
}

absl::Time MomentOf(absl::CivilSecond time, absl::TimeZone zone, bool first) {
  const absl::TimeZone::TimeInfo info = zone.At(time);
  switch (info.kind) {
    case absl::TimeZone::TimeInfo::SKIPPED:
      return info.trans;
    case absl::TimeZone::TimeInfo::REPEATED:
      return first ? info.pre : info.post;
    case absl::TimeZone::TimeInfo::UNIQUE:
      break;
  }
  return info.pre;
}

}  // namespace

absl::StatusOr<absl::TimeZone> LoadZone(absl::string_view name) {
  if (name.empty()) return absl::UTCTimeZone();
  absl::TimeZone zone;
  if (!LooksLikeAZone(name) || !absl::LoadTimeZone(name, &zone)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "zone \"", name, "\" is not known here; give an IANA name such as Europe/Berlin or UTC"));
  }
  return zone;
}

absl::Time FirstMomentOf(absl::CivilSecond time, absl::TimeZone zone) {
  return MomentOf(time, zone, /*first=*/true);
}

absl::Time LastMomentOf(absl::CivilSecond time, absl::TimeZone zone) {
  return MomentOf(time, zone, /*first=*/false);
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/lifetime.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

// Longer lifetimes are no use to anyone and would overflow somewhere.
constexpr absl::Duration kLifetimeMax = absl::Hours(24 * 366);
constexpr double kSecondsMax = 1e9;
// From here on a Unix time must be in milliseconds: in seconds it would be the year 5138.
constexpr double kMillisecondsFrom = 1e11;

// What has ended already has no lifetime, and is no reason to think of another one.
absl::Duration Sensible(absl::Duration lifetime) {
  return std::clamp(lifetime, absl::ZeroDuration(), kLifetimeMax);
}

std::optional<double> Number(const nlohmann::json& stated) {
  double number = 0;
  if (stated.is_number()) {
    number = stated.get<double>();
  } else if (!stated.is_string() ||
             !absl::SimpleAtod(stated.get_ref<const std::string&>(), &number)) {
    return std::nullopt;
  }
  if (!std::isfinite(number)) return std::nullopt;
  return number;
}

absl::Duration FromSeconds(double seconds) {
  return Sensible(absl::Seconds(std::clamp(seconds, 0.0, kSecondsMax)));
}

absl::Duration UntilUnixTime(double stated, absl::Time now) {
  if (stated >= kMillisecondsFrom) stated /= 1000;
  return Sensible(absl::FromUnixSeconds(0) + absl::Seconds(std::clamp(stated, 0.0, 1e11)) - now);
}

// absl reads words for the ends of time in any format: nobody's server says those.
bool ParseMoment(const char* format, absl::string_view text, absl::Time& moment) {
  return absl::ParseTime(format, text, &moment, nullptr) && moment != absl::InfiniteFuture() &&
         moment != absl::InfinitePast();
}

absl::Duration UntilIsoTime(const std::string& text, absl::Time now) {
  std::string iso = text;
  if (iso.size() > 10 && iso[10] == ' ') iso[10] = 'T';
  absl::Time moment;
  for (const char* format : {"%Y-%m-%dT%H:%M:%E*S%Ez", "%Y-%m-%dT%H:%M:%E*S%z",
                             "%Y-%m-%dT%H:%M:%E*S"}) {  // the last: without a zone, so UTC
    if (ParseMoment(format, iso, moment)) return Sensible(moment - now);
  }
  return absl::InfiniteDuration();
}

// hh:mm:ss, with days before it as .NET writes them (1.02:03:04), with parts of a second.
absl::Duration FromClockText(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() != 3) return absl::InfiniteDuration();
  absl::string_view hours_text = parts[0];
  uint32_t days = 0;
  if (const size_t dot = hours_text.find('.'); dot != absl::string_view::npos) {
    if (!absl::SimpleAtoi(hours_text.substr(0, dot), &days)) return absl::InfiniteDuration();
    hours_text.remove_prefix(dot + 1);
  }
  uint32_t hours = 0;
  uint32_t minutes = 0;
  double seconds = 0;
  if (!absl::SimpleAtoi(hours_text, &hours) || !absl::SimpleAtoi(parts[1], &minutes) ||
      !absl::SimpleAtod(parts[2], &seconds) || minutes > 59 || !(seconds >= 0 && seconds < 60)) {
    return absl::InfiniteDuration();
  }
  return Sensible(absl::Hours(24) * int64_t{days} + absl::Hours(hours) + absl::Minutes(minutes) +
                  absl::Seconds(seconds));
}

}  // namespace

absl::Duration ReadLifetime(const nlohmann::json& stated, v1::OAuthQuirks::LifetimeUnit unit,
                            absl::Time now) {
  if (unit == v1::OAuthQuirks::ISO8601) {
    return stated.is_string() ? UntilIsoTime(stated.get_ref<const std::string&>(), now)
                              : absl::InfiniteDuration();
  }
  if (unit == v1::OAuthQuirks::HH_MM_SS) {
    return stated.is_string() ? FromClockText(stated.get_ref<const std::string&>())
                              : absl::InfiniteDuration();
  }
  const std::optional<double> number = Number(stated);
  if (!number.has_value()) return absl::InfiniteDuration();
  switch (unit) {
    case v1::OAuthQuirks::MILLISECONDS:
      return FromSeconds(*number / 1000);
    case v1::OAuthQuirks::UNIX_TIME:
      return UntilUnixTime(*number, now);
    default:
      return FromSeconds(*number);
  }
}

absl::Duration ReadUnlessSeconds(const nlohmann::json& stated, v1::OAuthQuirks::LifetimeUnit unit,
                                 absl::Time now) {
  const bool of_number = unit != v1::OAuthQuirks::ISO8601 && unit != v1::OAuthQuirks::HH_MM_SS &&
                         unit != v1::OAuthQuirks::UNIX_TIME;
  const std::optional<double> number = Number(stated);
  if (of_number || !number.has_value() || absl::Seconds(*number) > kLifetimeMax) {
    return ReadLifetime(stated, unit, now);
  }
  return FromSeconds(*number);
}

absl::Duration ReadRefreshLifetime(const nlohmann::json& stated, v1::OAuthQuirks::LifetimeUnit unit,
                                   absl::Time now) {
  const bool of_number =
      unit == v1::OAuthQuirks::MILLISECONDS || unit == v1::OAuthQuirks::UNIX_TIME;
  const std::optional<double> number = Number(stated);
  if (number.has_value() && (!of_number || absl::Seconds(*number) <= kLifetimeMax)) {
    return FromSeconds(*number);
  }
  return ReadLifetime(stated, unit, now);
}

absl::Duration JwtLifetime(absl::string_view token, absl::Time now) {
  const std::vector<absl::string_view> parts = absl::StrSplit(token, '.');
  std::string payload;
  if (parts.size() != 3 || !absl::WebSafeBase64Unescape(parts[1], &payload)) {
    return absl::InfiniteDuration();
  }
  const std::unique_ptr<nlohmann::json> claims = ParseJson(payload);
  base::Wipe(payload);
  if (claims == nullptr) return absl::InfiniteDuration();
  absl::Duration lifetime = absl::InfiniteDuration();
  if (claims->is_object() && claims->contains("exp")) {
    lifetime = ReadLifetime((*claims)["exp"], v1::OAuthQuirks::UNIX_TIME, now);
  }
  WipeJson(*claims);
  return lifetime;
}

std::optional<absl::Time> ParseHttpDate(absl::string_view text) {
  absl::Time moment;
  for (const char* format :
       {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"}) {
    if (ParseMoment(format, text, moment)) return moment;
  }
  return std::nullopt;
}

}  // namespace keyturn::providers

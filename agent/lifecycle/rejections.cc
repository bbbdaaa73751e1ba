// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/rejections.h"

#include <algorithm>

namespace keyturn::lifecycle {
namespace {

constexpr int kReportsPerMinute = 10;
constexpr absl::Duration kBetweenLooks = absl::Seconds(60);
constexpr size_t kWaitingMax = 1000;

}  // namespace

absl::Duration Rejections::Admit(absl::string_view principal, base::BootTime now) {
  const absl::Duration each = absl::Minutes(1) / kReportsPerMinute;
  const std::string user(principal.substr(0, principal.find(",pid=")));
  MakeRoom(full_at_, now);
  base::BootTime& full_at = full_at_[user];
  const absl::Duration wait = full_at - each * (kReportsPerMinute - 1) - now;
  if (wait > absl::ZeroDuration()) return wait;
  full_at = std::max(full_at, now) + each;
  return absl::ZeroDuration();
}

bool Rejections::MayLook(const std::string& credential, base::BootTime now) {
  MakeRoom(quiet_until_, now);
  base::BootTime& until = quiet_until_[credential];
  if (now < until) return false;
  until = now + kBetweenLooks;
  return true;
}

bool Rejections::MayWait(const std::string& credential) {
  size_t& waiting = waiting_[credential];
  if (waiting == kWaitingMax) return false;
  ++waiting;
  return true;
}

void Rejections::HasWaited(const std::string& credential) {
  const auto found = waiting_.find(credential);
  if (--found->second == 0) waiting_.erase(found);
}

void Rejections::MakeRoom(std::map<std::string, base::BootTime>& times, base::BootTime now) const {
  if (times.size() < most_) return;
  for (auto it = times.begin(); it != times.end();) {
    it = it->second <= now ? times.erase(it) : std::next(it);
  }
  while (times.size() >= most_) {
    times.erase(std::min_element(times.begin(), times.end(),
                                 [](const auto& a, const auto& b) { return a.second < b.second; }));
  }
}

}  // namespace keyturn::lifecycle

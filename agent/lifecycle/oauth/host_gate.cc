// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/host_gate.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace keyturn::lifecycle::oauth {
namespace {

constexpr absl::Duration kRemembered = absl::Minutes(10);

}  // namespace

void HostGate::Want(Wish wish) {
  const std::string name = wish.credential;
  Waiting& waiting = waiting_[name];
  if (waiting.order == 0) waiting.order = next_order_++;
  waiting.wish = std::move(wish);
}

void HostGate::Forget(const std::string& credential) { waiting_.erase(credential); }

base::BootTime HostGate::BucketAt() const {
  return full_at_ - (limits_.per / limits_.requests) * (limits_.burst - 1);
}

base::BootTime HostGate::RetryAt(base::BootTime now) const {
  int requests = 0;
  int retries = 0;
  int lately = 0;
  base::BootTime again = now;
  for (auto sent = sent_.rbegin(); sent != sent_.rend(); ++sent) {
    if (now - sent->at >= kRemembered) break;
    ++requests;
    if (!sent->retry) continue;
    ++retries;
    if (now - sent->at >= absl::Minutes(1) || ++lately > limits_.retries_per_minute) continue;
    again = sent->at + absl::Minutes(1);  // when the oldest of the few that are free is forgotten
  }
  const bool within_share = retries + 1 <= limits_.retry_share * (requests + 1);
  return within_share || lately < limits_.retries_per_minute ? now : again;
}

const HostGate::Waiting* HostGate::First(base::BootTime now) const {
  // A probe is the only request there is; and it may well be a retry.
  const bool retries = down_ || RetryAt(now) <= now;
  const Waiting* first = nullptr;
  const auto rank = [](const Waiting& w) {
    return std::make_tuple(!w.wish.awaited, w.wish.hard.since_boot, w.order);
  };
  for (const auto& [name, waiting] : waiting_) {
    if (waiting.wish.retry && !retries) continue;
    if (first == nullptr || rank(waiting) < rank(*first)) first = &waiting;
  }
  return first;
}

std::optional<HostGate::Permit> HostGate::Take(base::BootTime now) {
  if (down_ && (probing_ || now < down_until_)) return std::nullopt;
  if (now < BucketAt()) return std::nullopt;
  const Waiting* first = First(now);
  if (first == nullptr) return std::nullopt;
  Permit permit{first->wish.credential, down_};
  while (!sent_.empty() && now - sent_.front().at >= kRemembered) sent_.pop_front();
  sent_.push_back({now, first->wish.retry});
  full_at_ = std::max(full_at_, now) + limits_.per / limits_.requests;
  probing_ = down_;
  waiting_.erase(permit.credential);
  return permit;
}

base::BootTime HostGate::NextAt(base::BootTime now) const {
  if (waiting_.empty() || (down_ && probing_)) return base::BootTime::InfiniteFuture();
  base::BootTime at = std::max(now, BucketAt());
  if (down_) return std::max(at, down_until_);
  const bool only_retries = std::all_of(waiting_.begin(), waiting_.end(),
                                        [](const auto& entry) { return entry.second.wish.retry; });
  if (only_retries) at = std::max(at, RetryAt(now));
  return at;
}

void HostGate::GoDown(absl::Duration pause, base::BootTime now) {
  down_ = true;
  probing_ = false;
  pause_ = std::min(pause, limits_.longest_pause);
  down_until_ = now + pause_;
  failures_.clear();
}

void HostGate::Report(const Permit& permit, Outcome outcome, base::BootTime now) {
  if (outcome == Outcome::kUp) {
    down_ = probing_ = false;
    failures_.clear();
    return;
  }
  if (permit.probe) {
    if (!probing_) return;  // another reply has settled it meanwhile
    probing_ = false;
    if (outcome != Outcome::kNotSent) GoDown(pause_ * 2, now);
    return;
  }
  if (outcome != Outcome::kDown || down_) return;
  failures_.push_back(now);
  while (now - failures_.front() > limits_.failures_within) failures_.pop_front();
  if (static_cast<int>(failures_.size()) >= limits_.failures) GoDown(limits_.first_pause, now);
}

}  // namespace keyturn::lifecycle::oauth

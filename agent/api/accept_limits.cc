// SPDX-License-Identifier: Apache-2.0
#include "agent/api/accept_limits.h"

#include <algorithm>

namespace keyturn::api {
namespace {
// More uids than a host has users; beyond that, those without connections are forgotten.
constexpr size_t kCallersMax = 4096;
}  // namespace

const char* AcceptLimits::Words(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAdmitted:
      return "admitted";
    case Verdict::kTooMany:
      return "the socket's connections are used up";
    case Verdict::kTooManyOfUid:
      return "the uid has too many connections";
    case Verdict::kTooFast:
      return "the uid connects too often";
  }
  return "unknown";
}

void AcceptLimits::Set(const ConnectionLimits& limits) {
  absl::MutexLock lock(&mu_);
  limits_ = limits;
}

void AcceptLimits::Fill(Caller& caller, base::BootTime now) const {
  const double burst = static_cast<double>(limits_.connect_burst);
  const double seconds = absl::ToDoubleSeconds(now - caller.filled);
  caller.tokens = std::min(burst, caller.tokens + seconds * limits_.connects_per_second);
  caller.filled = now;
}

void AcceptLimits::ForgetIdle(base::BootTime now) {
  const double full = static_cast<double>(limits_.connect_burst);
  for (auto it = callers_.begin(); it != callers_.end();) {
    Fill(it->second, now);
    const auto here = it++;
    if (here->second.open == 0 && here->second.tokens >= full) callers_.erase(here);
  }
}

AcceptLimits::Verdict AcceptLimits::Admit(uid_t uid, base::BootTime now) {
  absl::MutexLock lock(&mu_);
  if (open_ >= limits_.connections) return Verdict::kTooMany;
  if (callers_.size() >= kCallersMax && !callers_.contains(uid)) {
    ForgetIdle(now);
    if (callers_.size() >= kCallersMax) return Verdict::kTooMany;
  }
  const auto [it, is_new] = callers_.try_emplace(uid);
  Caller& caller = it->second;
  if (is_new) caller = {0, static_cast<double>(limits_.connect_burst), now};
  Fill(caller, now);
  if (caller.open >= limits_.connections_per_uid) return Verdict::kTooManyOfUid;
  if (caller.tokens < 1) return Verdict::kTooFast;
  caller.tokens -= 1;
  ++caller.open;
  ++open_;
  return Verdict::kAdmitted;
}

void AcceptLimits::Release(uid_t uid) {
  absl::MutexLock lock(&mu_);
  const auto found = callers_.find(uid);
  if (found == callers_.end() || found->second.open == 0) return;
  --found->second.open;
  --open_;
}

size_t AcceptLimits::open() const {
  absl::MutexLock lock(&mu_);
  return open_;
}

}  // namespace keyturn::api

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/calendar.h"

#include <algorithm>
#include <queue>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/base/ids.h"
#include "agent/lifecycle/resources.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);
constexpr absl::Duration kAheadDefault = absl::Hours(14 * 24);
constexpr absl::Duration kAheadMost = absl::Hours(400 * 24);
constexpr size_t kOfOneMost = 50;
constexpr size_t kInAllMost = 1000;

struct Entry {
  absl::Time at;
  std::string credential;
  std::string what;
  std::string detail;

  friend bool operator<(const Entry& a, const Entry& b) {
    return std::tie(a.at, a.credential, a.what, a.detail) <
           std::tie(b.at, b.credential, b.what, b.detail);
  }
};

// The soonest entries, in no more memory than they take.
class Soonest {
 public:
  explicit Soonest(size_t most) : most_(most) {}
  void Add(Entry entry) {
    entries_.push(std::move(entry));
    if (entries_.size() <= most_) return;
    entries_.pop();
    truncated_ = true;
  }
  bool truncated() const { return truncated_; }
  std::vector<Entry> Take() {
    std::vector<Entry> sorted;
    for (; !entries_.empty(); entries_.pop()) sorted.push_back(entries_.top());
    std::reverse(sorted.begin(), sorted.end());
    return sorted;
  }

 private:
  const size_t most_;
  std::priority_queue<Entry> entries_;
  bool truncated_ = false;
};

class OneCredential {
 public:
  OneCredential(const CredentialState& state, const CalendarContext& context, absl::Time end)
      : state_(state), context_(context), end_(end), name_(state.record.name) {}

  Soonest Collect() {
    EndOfGrace();
    switch (KindOf(state_.record.spec)) {
      case v1::API_KEY:
        class_ = context_.class_of(name_);
        if (class_ == providers::ProviderClass::kManual) {
          ByHand();
        } else {
          Rotations();
        }
        Expiry();
        break;
      case v1::OAUTH_TOKEN:
        Refresh();
        break;
      default:
        Expiry();
    }
    return std::move(entries_);
  }

 private:
  void Add(absl::Time at, const char* what, std::string detail) {
    if (at >= context_.now && at <= end_) {
      entries_.Add({at, name_, what, std::move(detail)});
    }
  }

  void EndOfGrace() {
    if (!state_.rotation || state_.rotation->state != "retiring") return;
    const store::RotationRecord& row = *state_.rotation;
    const std::string version = absl::StrCat("version ", row.old_version);
    if (row.grace_max == store::kNever) {
      Add(std::max(context_.now, row.grace_until), "revoke", version);
    } else {
      Add(std::max(context_.now, row.grace_max), "revoke",
          absl::StrCat(version, " at the latest; sooner once all consumers have moved on"));
    }
  }

  // How long the keys that the provider makes live; zero: no expiry.
  absl::Duration Lifetime() const {
    const store::VersionRecord* current = state_.Current();
    return current == nullptr || current->expires_at == store::kNever
               ? absl::ZeroDuration()
               : current->expires_at - current->promoted_at;
  }

  std::string Why(absl::Time last_rotated, absl::Time at) const {
    const v1::RotateSpec& rotate = state_.record.spec.rotate();
    const bool by_expiry = last_rotated != store::kNever &&
                           at < NextRotation(rotate, name_, last_rotated, store::kNever);
    return by_expiry ? "before the key expires" : ScheduleText(rotate);
  }

  std::string WhyNext(absl::Time at) const {
    if (state_.Current() == nullptr) return "the first key";
    if (state_.record.consecutive_failures > 0) {
      return absl::StrCat("another attempt, after ", state_.record.consecutive_failures, " failed");
    }
    return Why(state_.record.last_rotated, at);
  }

  void Rotations() {
    const v1::RotateSpec& rotate = state_.record.spec.rotate();
    // The run under way is no longer ahead; its end is.
    const absl::Time planned = std::max(context_.rotation_at(name_), state_.record.next_due);
    if (state_.rotation && planned < context_.now) return;
    absl::Time at = std::max(planned, context_.now);
    const absl::Duration lifetime = Lifetime();
    std::string detail = WhyNext(at);
    bool has_old = state_.Current() != nullptr;
    for (size_t i = 0; i <= kOfOneMost && at <= end_; ++i) {
      Add(at, "rotation", std::move(detail));
      if (has_old) GraceAfter(at);
      has_old = true;
      const absl::Time expires_at = lifetime > absl::ZeroDuration() ? at + lifetime : store::kNever;
      const absl::Time next = NextRotation(rotate, name_, at, expires_at);
      if (next <= at) break;
      detail = Why(at, next);
      at = next;
    }
  }

  void GraceAfter(absl::Time rotation) {
    // These replace the key in place: the old one has no grace.
    if (class_ == providers::ProviderClass::kRoll ||
        class_ == providers::ProviderClass::kSelfRoll) {
      return;
    }
    const v1::Grace& grace = state_.record.spec.rotate().grace();
    if (grace.wait_for() == v1::CONSUMERS) {
      Add(rotation + ToDuration(grace.max()), "revoke",
          "the key before, at the latest; sooner once all consumers have moved on");
    } else {
      Add(rotation + GraceOf(state_.record.spec.rotate()), "revoke", "the key before");
    }
  }

  void ByHand() {
    const absl::Time due = state_.record.next_due;
    if (state_.Current() == nullptr || due == store::kNever) return;
    for (const int days : kReminderDays) {
      Add(due - days * kDay, "reminder",
          absl::StrCat("in ", days, days == 1 ? " day" : " days", ": keyturn put ", name_));
    }
    Add(std::max(due, context_.now), "reminder",
        absl::StrCat(due < context_.now ? "overdue" : "due", ": keyturn put ", name_));
  }

  void Refresh() {
    const absl::Time at = context_.refresh_at(name_);
    const store::VersionRecord* current = state_.Current();
    if (at != absl::InfiniteFuture()) {
      std::string again;
      if (current != nullptr && current->expires_at != store::kNever) {
        const absl::Duration lifetime = current->expires_at - current->created_at;
        again = absl::StrCat("and then each time about three quarters of its lifetime of ",
                             absl::FormatDuration(absl::Trunc(lifetime, absl::Seconds(1))),
                             " have passed");
      }
      Add(std::max(at, context_.now), "refresh", std::move(again));
    } else if (current != nullptr && current->expires_at != store::kNever) {
      Add(current->expires_at, "expiry", "no refresh is planned");
    }
    if (state_.refresh && state_.refresh->refresh_token_expires_at != store::kNever) {
      Add(state_.refresh->refresh_token_expires_at, "expiry",
          absl::StrCat("the refresh token; a person must consent again: keyturn put ", name_));
    }
  }

  void Expiry() {
    const store::VersionRecord* current = state_.Current();
    if (current == nullptr || current->expires_at == store::kNever) return;
    const bool by_hand =
        KindOf(state_.record.spec) == v1::STATIC || class_ == providers::ProviderClass::kManual;
    Add(current->expires_at, "expiry",
        absl::StrCat("version ", current->number,
                     by_hand ? absl::StrCat(": keyturn put ", name_) : ", unless rotated before"));
  }

  const CredentialState& state_;
  const CalendarContext& context_;
  const absl::Time end_;
  const std::string& name_;
  std::optional<providers::ProviderClass> class_;
  Soonest entries_{kOfOneMost};
};

}  // namespace

absl::StatusOr<v1::CalendarResponse> ViewCalendar(const v1::CalendarRequest& request,
                                                  const CalendarContext& context) {
  const absl::Duration ahead = request.has_ahead() ? ToDuration(request.ahead()) : kAheadDefault;
  if (ahead < absl::ZeroDuration() || ahead > kAheadMost) {
    return absl::InvalidArgumentError("a calendar looks 0 to 400 days ahead");
  }
  Soonest all(kInAllMost);
  v1::CalendarResponse response;
  for (const auto& [name, state] : context.ledger.credentials()) {
    if (!request.match().empty() && !base::GlobMatches(request.match(), name)) continue;
    Soonest one = OneCredential(state, context, context.now + ahead).Collect();
    if (one.truncated()) response.set_truncated(true);
    for (Entry& entry : one.Take()) all.Add(std::move(entry));
  }
  if (all.truncated()) response.set_truncated(true);
  for (Entry& entry : all.Take()) {
    v1::CalendarEntry& view = *response.add_entries();
    const timespec at = absl::ToTimespec(entry.at);
    view.mutable_at()->set_seconds(at.tv_sec);
    view.mutable_at()->set_nanos(static_cast<int32_t>(at.tv_nsec));
    view.set_credential(std::move(entry.credential));
    view.set_what(std::move(entry.what));
    view.set_detail(std::move(entry.detail));
  }
  return response;
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/schedule.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/base/duration_text.h"
#include "agent/lifecycle/cron.h"
#include "agent/lifecycle/local_time.h"
#include "agent/lifecycle/window.h"

namespace keyturn::lifecycle {
namespace {

// Also when nothing is left to lose, a service that is down is not asked every second.
constexpr absl::Duration kRetryCapLeast = absl::Seconds(15);
constexpr absl::Duration kLeadMost = absl::Hours(30 * 24);
// For a stored schedule that cannot be read any more: seldom, but not never.
constexpr absl::Duration kIntervalUnreadable = absl::Hours(24);

std::optional<Cron> CronOf(const v1::RotateSpec& spec) {
  if (spec.cron().empty()) return std::nullopt;
  // A zone that was removed from this host since then must not end rotations.
  const absl::TimeZone zone = LoadZone(spec.zone()).value_or(absl::UTCTimeZone());
  auto cron = Cron::Parse(spec.cron(), zone);
  if (!cron.ok()) return std::nullopt;
  return *std::move(cron);
}

std::optional<Window> WindowOf(const v1::RotateSpec& spec) {
  if (!spec.has_window()) return std::nullopt;
  auto window = Window::Parse(spec.window());
  if (!window.ok()) return std::nullopt;
  return *std::move(window);
}

// This credential's part of the jitter, as a fraction of the whole interval.
double Shift(const v1::RotateSpec& spec, absl::string_view name) {
  return ParseJitter(spec.jitter()).value_or(0) * JitterFraction(name);
}

absl::Duration EveryOf(const v1::RotateSpec& spec) {
  return spec.has_every() ? ToDuration(spec.every()) : kIntervalUnreadable;
}

// By `every` or cron alone.
absl::Time Scheduled(const v1::RotateSpec& spec, absl::Time last_rotated, double shift) {
  const std::optional<Cron> cron = CronOf(spec);
  if (!cron) return last_rotated + EveryOf(spec) * (1 - shift);
  const absl::Time fire = cron->Next(last_rotated);
  // Who names an hour means it; only a jitter that is asked for moves it.
  if (spec.jitter().empty() || fire == absl::InfiniteFuture()) return fire;
  absl::Time end = cron->Next(fire);
  if (const std::optional<Window> window = WindowOf(spec)) {
    const Window::Span span = window->At(fire);
    if (span.opens <= fire) end = std::min(end, span.closes);
  }
  return end == absl::InfiniteFuture() ? fire : fire + (end - fire) * shift;
}

bool HasExpiry(absl::Time expires_at) {
  return expires_at != absl::InfinitePast() && expires_at != absl::InfiniteFuture();
}

absl::Time BeforeExpiry(const v1::RotateSpec& spec, absl::Time last_rotated,
                        absl::Time expires_at) {
  return HasExpiry(expires_at) ? expires_at - LeadOf(spec, last_rotated, expires_at)
                               : absl::InfiniteFuture();
}

absl::Status Wrong(ScheduleMistake& mistake, std::string field, absl::string_view message) {
  mistake = {std::move(field), std::string(message)};
  return absl::InvalidArgumentError(message);
}

std::string Readable(absl::Duration duration) { return base::FormatDuration(duration); }

absl::Status CheckGrace(const v1::RotateSpec& spec, absl::Duration interval,
                        ScheduleMistake& mistake) {
  const v1::Grace& grace = spec.grace();
  const bool waits = grace.wait_for() != v1::WAIT_FOR_UNSPECIFIED;
  if (waits && !grace.has_max()) {
    return Wrong(mistake, "grace",
                 "`max` is needed with `wait_for`, or a consumer that has gone would keep the old "
                 "key alive for ever");
  }
  if (!waits && grace.has_max()) {
    return Wrong(mistake, "grace.max", "only means something with `wait_for: consumers`");
  }
  const absl::Duration longest = waits ? ToDuration(grace.max()) : GraceOf(spec);
  if (longest < GraceOf(spec)) {
    return Wrong(mistake, "grace.max",
                 absl::StrCat("is less than `min`, which is ", Readable(GraceOf(spec))));
  }
  if (longest >= interval) {
    const std::string what = spec.cron().empty() ? "`every`" : "the time between two fires of cron";
    return Wrong(mistake,
                 waits              ? "grace.max"
                 : spec.has_grace() ? "grace"
                 : spec.has_every() ? "every"
                                    : "cron",
                 absl::StrCat("the grace (", Readable(longest), ") must be shorter than ", what,
                              " (", Readable(interval),
                              "), or the old key would still be valid at the next rotation"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<double> ParseJitter(absl::string_view text) {
  if (text.empty()) return 0.1;
  double percent = 0;
  absl::string_view number = text;
  if (!absl::ConsumeSuffix(&number, "%") || !absl::SimpleAtod(number, &percent) ||
      !(percent >= 0 && percent <= 50)) {
    return absl::InvalidArgumentError(
        absl::StrCat("jitter is \"", text, "\"; give a percentage from 0% to 50%, such as 10%"));
  }
  return percent / 100;
}

double JitterFraction(absl::string_view name) {
  // FNV-1a with a final mix: absl::Hash is seeded anew in each process and would not repeat.
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  hash ^= hash >> 32;
  return static_cast<double>(hash >> 11) * 0x1.0p-53;
}

absl::Time NextRotation(const v1::RotateSpec& spec, absl::string_view name, absl::Time last_rotated,
                        absl::Time expires_at) {
  const absl::Time due = std::min(Scheduled(spec, last_rotated, Shift(spec, name)),
                                  BeforeExpiry(spec, last_rotated, expires_at));
  return InWindow(spec, name, due, last_rotated, expires_at);
}

absl::Duration LeadOf(const v1::RotateSpec& spec, absl::Time last_rotated, absl::Time expires_at) {
  const absl::Duration lifetime = std::max(absl::ZeroDuration(), expires_at - last_rotated);
  const absl::Duration lead = spec.has_before_expiry() ? ToDuration(spec.before_expiry())
                                                       : std::min(lifetime / 3, kLeadMost);
  return std::min(lead, lifetime / 2);
}

absl::Time InWindow(const v1::RotateSpec& spec, absl::string_view name, absl::Time due,
                    absl::Time last_rotated, absl::Time expires_at) {
  const std::optional<Window> window = WindowOf(spec);
  if (!window) return due;
  const Window::Span span = window->At(due);
  if (span.opens <= due) return due;
  // Not all that waited for the window at the moment it opens.
  const absl::Time moment = span.opens + (span.closes - span.opens) * Shift(spec, name);
  const bool too_late =
      HasExpiry(expires_at) && moment > expires_at - LeadOf(spec, last_rotated, expires_at) / 10;
  return too_late ? due : moment;
}

bool IsInWindow(const v1::RotateSpec& spec, absl::Time at) {
  const std::optional<Window> window = WindowOf(spec);
  return !window || window->Holds(at);
}

absl::Duration IntervalAt(const v1::RotateSpec& spec, absl::Time at) {
  const std::optional<Cron> cron = CronOf(spec);
  if (!cron) return EveryOf(spec);
  const absl::Time fire = cron->Previous(at + absl::Nanoseconds(1));  // at or before `at`
  return fire - cron->Previous(fire);
}

absl::Time OverdueFrom(const v1::RotateSpec& spec, absl::string_view name, absl::Time last_rotated,
                       absl::Time expires_at) {
  // A rotation that its jitter makes earlier is not late before `every` has passed.
  const double shift = spec.cron().empty() ? 0 : Shift(spec, name);
  const absl::Time scheduled = Scheduled(spec, last_rotated, shift);
  const absl::Time before_expiry = BeforeExpiry(spec, last_rotated, expires_at);
  absl::Duration interval = IntervalAt(spec, scheduled);
  if (before_expiry < scheduled) interval = std::min(interval, before_expiry - last_rotated);
  const absl::Time due =
      InWindow(spec, name, std::min(scheduled, before_expiry), last_rotated, expires_at);
  return due + interval / 10;
}

Reminder ReminderAt(absl::Time due, absl::Time now) {
  Reminder reminder;
  for (const int days : kReminderDays) {
    const absl::Time at = due - absl::Hours(24 * days);
    if (now < at) {
      reminder.next = at;
      return reminder;
    }
    reminder.due = true;
  }
  reminder.next = now < due ? due : due + absl::Floor(now - due, absl::Hours(24)) + absl::Hours(24);
  return reminder;
}

absl::Duration GraceOf(const v1::RotateSpec& spec) {
  return spec.grace().has_min() ? ToDuration(spec.grace().min()) : kDefaultGrace;
}

std::string ScheduleText(const v1::RotateSpec& spec) {
  if (spec.cron().empty()) return absl::StrCat("every ", Readable(EveryOf(spec)));
  return absl::StrCat("cron ", spec.cron(), " (", spec.zone().empty() ? "UTC" : spec.zone(), ")");
}

absl::Status CheckSchedule(const v1::RotateSpec& spec, ScheduleMistake& mistake) {
  const bool by_cron = !spec.cron().empty();
  if (by_cron && spec.has_every()) {
    return Wrong(mistake, "cron", "does not go with `every`; give one of the two");
  }
  if (!by_cron && ToDuration(spec.every()) < absl::Seconds(1)) {
    return Wrong(mistake, "",
                 "`every` is needed, at least 1s, such as `every: 90d`; or `cron`, such as "
                 "`cron: \"0 3 * * sun\"`");
  }
  if (!by_cron && !spec.zone().empty()) {
    return Wrong(mistake, "zone", "only goes with `cron`; a window has a zone of its own");
  }
  absl::Duration interval = ToDuration(spec.every());
  if (by_cron) {
    const auto zone = LoadZone(spec.zone());
    if (!zone.ok()) return Wrong(mistake, "zone", zone.status().message());
    const auto cron = Cron::Parse(spec.cron(), *zone);
    if (!cron.ok()) return Wrong(mistake, "cron", cron.status().message());
    interval = cron->ShortestInterval();
  }
  if (spec.has_window()) {
    WindowMistake wrong;
    if (const auto window = Window::Parse(spec.window(), &wrong); !window.ok()) {
      return Wrong(mistake, wrong.field.empty() ? "window" : absl::StrCat("window.", wrong.field),
                   wrong.message);
    }
  }
  if (const auto jitter = ParseJitter(spec.jitter()); !jitter.ok()) {
    return Wrong(mistake, "jitter", jitter.status().message());
  }
  if (spec.has_before_expiry() && ToDuration(spec.before_expiry()) <= absl::ZeroDuration()) {
    return Wrong(mistake, "before_expiry", "must be more than 0s");
  }
  return CheckGrace(spec, interval, mistake);
}

base::BackoffPolicy RetryPolicy(absl::Duration runway) {
  base::BackoffPolicy policy;
  policy.cap = std::clamp(runway / 4, kRetryCapLeast, policy.cap);
  return policy;
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// Keeper's answers about the future: the calendar, and what a rotation would do.
#include <algorithm>
#include <utility>

#include "agent/lifecycle/calendar.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/rotation_preview.h"

namespace keyturn::lifecycle {

CalendarContext Keeper::CalendarFacts() {
  return {ledger_, deps_.clock.WallNow(),
          [this](const std::string& name) {
            const auto plan = plans_.find(name);
            return plan == plans_.end() ? absl::InfiniteFuture() : plan->second.rotation_at;
          },
          [this](const std::string& name) { return refresher_.NextAt(name); },
          [this](const std::string& name) -> std::optional<providers::ProviderClass> {
            const auto provider = ProviderOf(name);
            if (!provider.ok()) return std::nullopt;
            return (*provider)->traits().provider_class;
          }};
}

void Keeper::Calendar(v1::CalendarRequest request, Answer<v1::CalendarResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    done(ViewCalendar(request, CalendarFacts()));
  });
}

absl::Status Keeper::PreviewRotation(const std::string& name, Step& step) {
  const auto provider = ProviderOf(name);
  if (!provider.ok()) return provider.status();
  for (PreviewedStep& previewed :
       PreviewOf(*ledger_.Find(name), (*provider)->traits(), ledger_.agent_id())) {
    v1::RotateResponse response;
    response.set_state(std::move(previewed.step));
    response.set_detail(std::move(previewed.detail));
    step(std::move(response));
  }
  return absl::OkStatus();
}

}  // namespace keyturn::lifecycle

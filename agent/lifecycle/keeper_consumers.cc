// SPDX-License-Identifier: Apache-2.0
// What Keeper knows of a key's consumers. Deliveries arrive from any thread through a queue that is
// emptied soon, and before anything is decided or committed; what is known is saved within seconds,
// and before that with whatever else changes the credential. A crash can lose the last seconds:
// consumers that were given a value then are unknown until they are seen again.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {
namespace {

// Deliveries gather for this long, unless somebody needs to know: a busy agent is not woken for
// each.
constexpr absl::Duration kGather = absl::Milliseconds(100);
// When there is news, and when only the time of the last delivery changed.
constexpr absl::Duration kSaveNews = absl::Seconds(3);
constexpr absl::Duration kSaveTimes = absl::Minutes(10);
constexpr absl::Duration kSaveAgain = absl::Seconds(30);

bool MovedOn(const CredentialState& state, absl::Time now) {
  return ConsumersMovedOn(state.consumers, state.record.retiring_version,
                          state.record.current_version, now);
}

// Numbers above the current one may have been given too: before an undo.
bool WasGivenOut(const CredentialState& state, uint64_t version) {
  if (version == 0 || version > state.record.last_version) return false;
  const store::VersionRecord* record = state.Version(version);
  return record == nullptr ? version < state.record.current_version
                           : record->promoted_at != store::kNever;
}

}  // namespace

void Keeper::Given(const Delivery& delivery) {
  if (deliveries_.Push(delivery)) {
    deps_.executor.After(kGather, [this] { TakeDeliveries(); });
  }
}

void Keeper::TakeDeliveries() {
  std::map<std::string, std::vector<Delivery>> by_name;
  for (Delivery& delivery : deliveries_.Take()) {
    by_name[delivery.credential].push_back(std::move(delivery));
  }
  for (const auto& [name, deliveries] : by_name) NoteDeliveries(name, deliveries);
}

void Keeper::NoteDeliveries(const std::string& name, const std::vector<Delivery>& deliveries) {
  const CredentialState* state = ledger_.Find(name);
  if (state == nullptr || KindOf(state->record.spec) != v1::API_KEY) return;
  const absl::Time now = deps_.clock.WallNow();
  const bool was_held = state->record.retiring_version != 0 && !MovedOn(*state, now);
  ReviewConsumers(name);
  store::ConsumersRecord record = state->consumers;
  record.credential = name;
  RecordChange change = RecordChange::kNone;
  for (const Delivery& delivery : deliveries) {
    if (record.consumers.size() >= kConsumersMax) {
      change = std::max(change, Prune(record, now, deps_.has_ended));
    }
    change = std::max(change, Remember(record, delivery));
  }
  if (change == RecordChange::kNews) Prune(record, now, deps_.has_ended);
  Keep(std::move(record), change);
  if (was_held && MovedOn(*state, now)) WakeRotation(name);
}

// Who watches is a consumer for as long, also when its value was sent to it long ago; and processes
// end without telling.
void Keeper::ReviewConsumers(const std::string& name) {
  const CredentialState* state = ledger_.Find(name);
  if (state == nullptr || state->consumers.consumers.empty()) return;
  const absl::Time now = deps_.clock.WallNow();
  const std::vector<std::string> watching = deps_.sink.Watching(name);
  store::ConsumersRecord record = state->consumers;
  record.credential = name;
  RecordChange change = RecordChange::kNone;
  for (store::ConsumersRecord::Consumer& consumer : record.consumers) {
    if (std::find(watching.begin(), watching.end(), consumer.principal) == watching.end()) continue;
    consumer.last_given = std::max(consumer.last_given, now);
    change = RecordChange::kSeenAgain;
  }
  change = std::max(change, Prune(record, now, deps_.has_ended));
  Keep(std::move(record), change);
}

void Keeper::Keep(store::ConsumersRecord record, RecordChange change) {
  if (change == RecordChange::kNone) return;
  ledger_.SetConsumers(std::move(record));
  PlanSave(change == RecordChange::kNews ? kSaveNews : kSaveTimes);
}

void Keeper::PlanSave(absl::Duration wait) {
  const base::BootTime at = deps_.clock.BootNow() + wait;
  if (save_timer_ != 0 && save_at_ <= at) return;
  deps_.executor.Cancel(save_timer_);
  save_at_ = at;
  save_timer_ = deps_.executor.After(wait, [this] {
    save_timer_ = 0;
    const absl::Status status = ledger_.SaveConsumers();
    if (status.ok()) return;
    deps_.log.Write(observe::Level::kWarning, "consumers_not_saved",
                    {{"detail", status.message()}});
    PlanSave(kSaveAgain);
  });
}

bool Keeper::ConsumersHaveMovedOn(const std::string& name) {
  TakeDeliveries();
  ReviewConsumers(name);
  const CredentialState* state = ledger_.Find(name);
  return state == nullptr || MovedOn(*state, deps_.clock.WallNow());
}

// Not at once: the engine may be asking about these very consumers.
void Keeper::WakeRotation(const std::string& name) {
  deps_.executor.Post([this, name] {
    const CredentialState* state = ledger_.Find(name);
    if (state != nullptr && state->rotation && state->rotation->state == "retiring") {
      engine_.LookAgain(name);
    }
  });
}

void Keeper::Acknowledge(std::string principal, v1::AcknowledgeRequest request,
                         Answer<v1::AcknowledgeResponse> done) {
  deps_.executor.Post([this, principal = std::move(principal), request = std::move(request),
                       done = std::move(done)]() mutable {
    // What this consumer was given before comes first.
    TakeDeliveries();
    done(AcknowledgeNow(principal, request));
  });
}

absl::StatusOr<v1::AcknowledgeResponse> Keeper::AcknowledgeNow(
    const std::string& principal, const v1::AcknowledgeRequest& request) {
  const auto state = Get(request.name());
  if (!state.ok()) return state.status();
  if (!WasGivenOut(**state, request.version())) {
    return base::WithReason(
        absl::InvalidArgumentError(absl::StrCat("\"", request.name(), "\" has had no version ",
                                                request.version(), " to use")),
        "NO_SUCH_VERSION", {{"credential", request.name()}});
  }
  NoteDeliveries(request.name(),
                 {{request.name(), principal, request.version(), deps_.clock.WallNow(), true}});
  v1::AcknowledgeResponse response;
  response.set_current_version((*state)->record.current_version);
  return response;
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/views.h"

#include <algorithm>
#include <vector>

#include "agent/base/ids.h"
#include "agent/base/strict_yaml.h"
#include "agent/lifecycle/consumers.h"
#include "agent/lifecycle/oauth/consent_expiry.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/resources.h"

namespace keyturn::lifecycle {
namespace {

// Absent for InfinitePast and InfiniteFuture.
template <class Setter>
void SetTime(absl::Time time, Setter mutable_time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return;
  const timespec ts = absl::ToTimespec(time);
  google::protobuf::Timestamp* out = mutable_time();
  out->set_seconds(ts.tv_sec);
  out->set_nanos(static_cast<int32_t>(ts.tv_nsec));
}

template <class Setter>
void SetDuration(absl::Duration duration, Setter mutable_duration) {
  if (duration == absl::InfiniteDuration()) return;
  const timespec ts = absl::ToTimespec(duration);
  google::protobuf::Duration* out = mutable_duration();
  out->set_seconds(ts.tv_sec);
  out->set_nanos(static_cast<int32_t>(ts.tv_nsec));
}

std::string SourceOf(const v1::CredentialSpec& spec) {
  if (!spec.provider().empty()) return spec.provider();
  return spec.has_oauth() ? oauth::ServerHostOf(spec.oauth()) : "";
}

v1::Health HealthOf(const CredentialState& state, const ViewContext& context) {
  const auto failure = context.failures.Find(state.record.name);
  const store::VersionRecord* current = state.Current();
  const absl::Time expires_at = context.expires_at(state);
  const bool valid =
      current != nullptr && (expires_at == store::kNever || expires_at > context.now);
  if (failure && failure->failure.code == observe::FailureCode::kNeedsConsent) {
    return v1::NEEDS_ACTION;
  }
  if (!valid) {
    const bool waits_for_person = current == nullptr && KindOf(state.record.spec) == v1::STATIC;
    return waits_for_person ? v1::NEEDS_ACTION : v1::BROKEN;
  }
  // A key that somebody else may have made breaks nothing.
  const bool degraded = failure && failure->failure.code != observe::FailureCode::kUnknownKey;
  return degraded ? v1::DEGRADED : v1::OK;
}

v1::FailureSummary FailureView(const observe::OpenFailure& open) {
  v1::FailureSummary view;
  view.set_code(observe::FailureCodeName(open.failure.code));
  view.set_credential(open.failure.credential);
  SetTime(open.since, [&] { return view.mutable_since(); });
  view.set_attempts(open.failure.attempt);
  SetTime(open.failure.next_retry, [&] { return view.mutable_next_retry(); });
  SetDuration(open.failure.runway, [&] { return view.mutable_runway(); });
  view.set_detail(open.failure.detail.empty() ? open.failure.cause : open.failure.detail);
  return view;
}

absl::Duration RunwayOf(const CredentialState& state, const ViewContext& context) {
  if (state.Current() == nullptr) return absl::ZeroDuration();
  const absl::Time expires_at = context.expires_at(state);
  if (expires_at == store::kNever) return absl::InfiniteDuration();
  return std::max(absl::ZeroDuration(), expires_at - context.now);
}

// The version being retired is held by those who keep it from being revoked; every other one by
// those who were given it last, or said that they use it.
std::vector<Holder> HoldersOfVersion(const CredentialState& state, uint64_t number,
                                     absl::Time now) {
  const store::CredentialRecord& record = state.record;
  if (number == record.retiring_version) {
    return HoldersOf(state.consumers, number, record.current_version, now);
  }
  std::vector<Holder> holders = HoldersOf(state.consumers, now);
  holders.erase(std::remove_if(holders.begin(), holders.end(),
                               [&](const Holder& holder) { return holder.version != number; }),
                holders.end());
  return holders;
}

}  // namespace

v1::CredentialSummary Summarize(const CredentialState& state, const ViewContext& context) {
  v1::CredentialSummary view;
  view.set_name(state.record.name);
  view.set_kind(KindOf(state.record.spec));
  view.set_health(HealthOf(state, context));
  view.set_current_version(state.record.current_version);
  view.set_source(SourceOf(state.record.spec));
  if (const store::VersionRecord* current = state.Current()) {
    SetTime(current->promoted_at, [&] { return view.mutable_current_since(); });
    SetTime(context.expires_at(state), [&] { return view.mutable_expires_at(); });
    if (view.kind() == v1::OAUTH_TOKEN && current->expires_at != store::kNever) {
      SetDuration(current->expires_at - current->requested_at,
                  [&] { return view.mutable_lifetime(); });
    }
  }
  if (view.kind() == v1::OAUTH_TOKEN) {
    SetTime(oauth::ConsentUntil(state), [&] { return view.mutable_consent_until(); });
  }
  SetTime(context.next_at(state.record.name), [&] { return view.mutable_next_at(); });
  SetDuration(RunwayOf(state, context), [&] { return view.mutable_runway(); });
  if (state.rotation) view.set_rotation_state(state.rotation->state);
  if (const auto failure = context.failures.Find(state.record.name)) {
    view.set_failure(observe::FailureCodeName(failure->failure.code));
  }
  return view;
}

v1::ListResponse ViewList(const std::string& match, const ViewContext& context) {
  v1::ListResponse response;
  for (const auto& [name, state] : context.ledger.credentials()) {
    if (!match.empty() && !base::GlobMatches(match, name)) continue;
    *response.add_credentials() = Summarize(state, context);
  }
  return response;
}

v1::DescribeResponse ViewOne(const CredentialState& state, const ViewContext& context) {
  v1::DescribeResponse response;
  *response.mutable_summary() = Summarize(state, context);
  for (auto it = state.versions.rbegin(); it != state.versions.rend(); ++it) {
    const store::VersionRecord& version = it->second;
    v1::VersionSummary* view = response.add_versions();
    view->set_version(version.number);
    view->set_state(store::VersionStateName(version.state));
    SetTime(version.created_at, [&] { return view->mutable_created_at(); });
    SetTime(version.promoted_at, [&] { return view->mutable_promoted_at(); });
    SetTime(version.grace_until, [&] { return view->mutable_grace_until(); });
    SetTime(version.expires_at, [&] { return view->mutable_expires_at(); });
    SetTime(version.ended_at, [&] { return view->mutable_ended_at(); });
    view->set_provider_key_id(version.provider_key_id);
    for (const Holder& holder : HoldersOfVersion(state, version.number, context.now)) {
      v1::Holder* shown = view->add_holders();
      shown->set_principal(holder.principal);
      SetTime(holder.since, [&] { return shown->mutable_since(); });
      shown->set_acknowledged(holder.acknowledged && holder.version == version.number);
      SetTime(holder.last_given, [&] { return shown->mutable_last_given(); });
    }
  }
  if (state.rotation) {
    v1::RotationSummary* view = response.mutable_rotation();
    view->set_id(state.rotation->id);
    view->set_state(state.rotation->state);
    view->set_attempt(state.rotation->attempt);
    SetTime(state.rotation->started_at, [&] { return view->mutable_started_at(); });
    SetTime(context.next_step_at(state.record.name), [&] { return view->mutable_next_step_at(); });
    view->set_last_error(state.rotation->last_error);
  }
  v1::Resources one;
  (*one.mutable_credentials())[state.record.name] = state.record.spec;
  response.set_spec_yaml(base::ToYaml(one));
  response.set_last_error(state.record.failure_detail);
  return response;
}

v1::HistoryResponse ViewHistory(const CredentialState& state, uint32_t limit) {
  v1::HistoryResponse response;
  for (auto it = state.history.rbegin(); it != state.history.rend() && limit > 0; ++it, --limit) {
    const store::HistoryRecord& record = it->second;
    v1::HistoryEntry* entry = response.add_entries();
    SetTime(record.at, [&] { return entry->mutable_at(); });
    entry->set_what(record.what);
    entry->set_outcome(record.outcome);
    entry->set_version(record.version);
    entry->set_detail(record.detail);
    if (record.started_at != store::kNever) {
      SetDuration(record.at - record.started_at, [&] { return entry->mutable_took(); });
    }
  }
  return response;
}

v1::StatusResponse ViewStatus(const ViewContext& context) {
  v1::StatusResponse response;
  response.set_credentials(static_cast<uint32_t>(context.ledger.credentials().size()));
  response.set_providers(static_cast<uint32_t>(context.ledger.providers().size()));
  response.set_policies(static_cast<uint32_t>(context.ledger.policies().size()));
  uint32_t open = 0;
  for (const auto& [name, state] : context.ledger.credentials()) open += state.rotation ? 1u : 0u;
  response.set_open_rotations(open);
  for (const observe::OpenFailure& failure : context.failures.List()) {
    *response.add_failures() = FailureView(failure);
  }
  return response;
}

}  // namespace keyturn::lifecycle

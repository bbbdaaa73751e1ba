// SPDX-License-Identifier: Apache-2.0
#include "agent/store/record_fields.h"

#include <string>
#include <utility>

#include "agent/store/record_message.h"

namespace keyturn::store {
namespace {

namespace pb = internal::v1;

absl::Status NotItsKey() { return absl::DataLossError("names another record than its key does"); }

}  // namespace

void ToMessage(const ProviderRecord& record, pb::StoredProvider& message) {
  *message.mutable_spec() = record.spec;
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredProvider& message) {
  return Record(ProviderRecord{std::string(key.name), message.spec()});
}

void ToMessage(const PolicyRecord& record, pb::StoredPolicy& message) {
  *message.mutable_spec() = record.spec;
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredPolicy& message) {
  return Record(PolicyRecord{std::string(key.name), message.spec()});
}

void ToMessage(const CredentialRecord& record, pb::StoredCredential& message) {
  using M = pb::StoredCredential;
  *message.mutable_spec() = record.spec;
  message.set_current_version(record.current_version);
  message.set_retiring_version(record.retiring_version);
  message.set_last_version(record.last_version);
  message.set_rotation_counter(record.rotation_counter);
  StoreTime(record.last_rotated, message, &M::mutable_last_rotated);
  StoreTime(record.next_due, message, &M::mutable_next_due);
  message.set_consecutive_failures(record.consecutive_failures);
  message.set_failure_code(record.failure_code);
  message.set_failure_detail(record.failure_detail);
  StoreTime(record.failure_since, message, &M::mutable_failure_since);
  for (const std::string& id : record.disowned_key_ids) message.add_disowned_key_ids(id);
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredCredential& message) {
  CredentialRecord record;
  record.name = std::string(key.name);
  record.spec = message.spec();
  record.current_version = message.current_version();
  record.retiring_version = message.retiring_version();
  record.last_version = message.last_version();
  record.rotation_counter = message.rotation_counter();
  record.last_rotated = LoadTime(message.has_last_rotated(), message.last_rotated());
  record.next_due = LoadTime(message.has_next_due(), message.next_due());
  record.consecutive_failures = message.consecutive_failures();
  record.failure_code = message.failure_code();
  record.failure_detail = message.failure_detail();
  record.failure_since = LoadTime(message.has_failure_since(), message.failure_since());
  record.disowned_key_ids.assign(message.disowned_key_ids().begin(),
                                 message.disowned_key_ids().end());
  return Record(std::move(record));
}

void ToMessage(const VersionRecord& record, pb::StoredVersion& message) {
  using M = pb::StoredVersion;
  message.set_credential(record.credential);
  message.set_number(record.number);
  message.set_state(ToStored(record.state));
  ToStored(record.value, *message.mutable_fields(), *message.mutable_primary());
  message.set_provider_key_id(record.provider_key_id);
  StoreTime(record.created_at, message, &M::mutable_created_at);
  StoreTime(record.requested_at, message, &M::mutable_requested_at);
  StoreBootTime(record.requested_boot, message, &M::mutable_requested_boot);
  StoreTime(record.promoted_at, message, &M::mutable_promoted_at);
  StoreTime(record.expires_at, message, &M::mutable_expires_at);
  StoreTime(record.grace_until, message, &M::mutable_grace_until);
  StoreTime(record.ended_at, message, &M::mutable_ended_at);
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredVersion& message) {
  if (message.credential() != key.name || message.number() != key.number) return NotItsKey();
  VersionRecord record;
  record.credential = message.credential();
  record.number = message.number();
  if (!FromStored(message.state(), record.state)) {
    return absl::DataLossError("is in a state that this keyturnd does not know");
  }
  record.value = FromStored(message.fields(), message.primary());
  record.provider_key_id = message.provider_key_id();
  record.created_at = LoadTime(message.has_created_at(), message.created_at());
  record.requested_at = LoadTime(message.has_requested_at(), message.requested_at());
  record.requested_boot = LoadBootTime(message.requested_boot());
  record.promoted_at = LoadTime(message.has_promoted_at(), message.promoted_at());
  record.expires_at = LoadTime(message.has_expires_at(), message.expires_at());
  record.grace_until = LoadTime(message.has_grace_until(), message.grace_until());
  record.ended_at = LoadTime(message.has_ended_at(), message.ended_at());
  return Record(std::move(record));
}

void ToMessage(const RotationRecord& record, pb::StoredRotation& message) {
  using M = pb::StoredRotation;
  message.set_id(record.id);
  message.set_credential(record.credential);
  message.set_state(record.state);
  message.set_attempt(record.attempt);
  message.set_fence(record.fence);
  message.set_tag(record.tag);
  for (const std::string& id : record.seen_before) message.add_seen_before(id);
  message.set_new_key_id(record.new_key_id);
  ToStored(record.new_value, *message.mutable_new_fields(), *message.mutable_new_primary());
  StoreTime(record.new_expires_at, message, &M::mutable_new_expires_at);
  message.set_old_key_id(record.old_key_id);
  message.set_old_version(record.old_version);
  message.set_new_version(record.new_version);
  StoreTime(record.started_at, message, &M::mutable_started_at);
  StoreTime(record.sent_at, message, &M::mutable_sent_at);
  StoreTime(record.settle_until, message, &M::mutable_settle_until);
  StoreTime(record.verify_until, message, &M::mutable_verify_until);
  StoreTime(record.grace_until, message, &M::mutable_grace_until);
  StoreTime(record.dead_by, message, &M::mutable_dead_by);
  for (const std::string& id : record.abort_ids) message.add_abort_ids(id);
  message.set_last_error(record.last_error);
  message.set_clean_lists(record.clean_lists);
  message.set_step_failures(record.step_failures);
  StoreTime(record.grace_max, message, &M::mutable_grace_max);
  message.set_creates(record.creates);
  message.set_target(record.target);
  message.set_target_before(record.target_before.Reveal().data(), record.target_before.size());
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredRotation& message) {
  if (message.credential() != key.name) return NotItsKey();
  RotationRecord record;
  record.id = message.id();
  record.credential = message.credential();
  record.state = message.state();
  record.attempt = message.attempt();
  record.fence = message.fence();
  record.tag = message.tag();
  record.seen_before.assign(message.seen_before().begin(), message.seen_before().end());
  record.new_key_id = message.new_key_id();
  record.new_value = FromStored(message.new_fields(), message.new_primary());
  record.new_expires_at = LoadTime(message.has_new_expires_at(), message.new_expires_at());
  record.old_key_id = message.old_key_id();
  record.old_version = message.old_version();
  record.new_version = message.new_version();
  record.started_at = LoadTime(message.has_started_at(), message.started_at());
  record.sent_at = LoadTime(message.has_sent_at(), message.sent_at());
  record.settle_until = LoadTime(message.has_settle_until(), message.settle_until());
  record.verify_until = LoadTime(message.has_verify_until(), message.verify_until());
  record.grace_until = LoadTime(message.has_grace_until(), message.grace_until());
  record.dead_by = LoadTime(message.has_dead_by(), message.dead_by());
  record.abort_ids.assign(message.abort_ids().begin(), message.abort_ids().end());
  record.last_error = message.last_error();
  record.clean_lists = message.clean_lists();
  record.step_failures = message.step_failures();
  record.grace_max = LoadTime(message.has_grace_max(), message.grace_max());
  record.creates = message.creates();
  record.target = message.target();
  record.target_before = base::Secret(message.target_before());
  return Record(std::move(record));
}

void ToMessage(const TagRecord& record, pb::StoredTag& message) {
  message.set_tag(record.tag);
  StoreTime(record.keep_until, message, &pb::StoredTag::mutable_keep_until);
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredTag& message) {
  if (message.tag() != key.tag) return NotItsKey();
  return Record(TagRecord{std::string(key.name), message.tag(),
                          LoadTime(message.has_keep_until(), message.keep_until())});
}

void ToMessage(const RefreshRecord& record, pb::StoredRefresh& message) {
  using M = pb::StoredRefresh;
  message.set_credential(record.credential);
  message.set_refresh_token(record.refresh_token.Reveal().data(), record.refresh_token.size());
  StoreTime(record.refresh_token_since, message, &M::mutable_refresh_token_since);
  StoreTime(record.refresh_token_expires_at, message, &M::mutable_refresh_token_expires_at);
  StoreTime(record.inflight_since, message, &M::mutable_inflight_since);
  StoreBootTime(record.inflight_boot, message, &M::mutable_inflight_boot);
  message.set_in_doubt(record.in_doubt);
  message.set_needs_consent(record.needs_consent);
  StoreTime(record.consented_at, message, &M::mutable_consented_at);
  StoreTime(record.last_used_at, message, &M::mutable_last_used_at);
  message.set_dpop_key(record.dpop_key.Reveal().data(), record.dpop_key.size());
  message.set_restored(record.restored);
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredRefresh& message) {
  if (message.credential() != key.name) return NotItsKey();
  RefreshRecord record;
  record.credential = message.credential();
  record.refresh_token = base::Secret(message.refresh_token());
  record.refresh_token_since =
      LoadTime(message.has_refresh_token_since(), message.refresh_token_since());
  record.refresh_token_expires_at =
      LoadTime(message.has_refresh_token_expires_at(), message.refresh_token_expires_at());
  record.inflight_since = LoadTime(message.has_inflight_since(), message.inflight_since());
  record.inflight_boot = LoadBootTime(message.inflight_boot());
  record.in_doubt = message.in_doubt();
  record.needs_consent = message.needs_consent();
  record.consented_at = LoadTime(message.has_consented_at(), message.consented_at());
  record.last_used_at = LoadTime(message.has_last_used_at(), message.last_used_at());
  record.dpop_key = base::Secret(message.dpop_key());
  record.restored = message.restored();
  return Record(std::move(record));
}

void ToMessage(const ConsumersRecord& record, pb::StoredConsumers& message) {
  using M = pb::StoredConsumers::Consumer;
  for (const ConsumersRecord::Consumer& consumer : record.consumers) {
    M& stored = *message.add_consumers();
    stored.set_principal(consumer.principal);
    stored.set_version(consumer.version);
    StoreTime(consumer.since, stored, &M::mutable_since);
    StoreTime(consumer.last_given, stored, &M::mutable_last_given);
    stored.set_acknowledged(consumer.acknowledged);
  }
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredConsumers& message) {
  ConsumersRecord record;
  record.credential = std::string(key.name);
  for (const pb::StoredConsumers::Consumer& stored : message.consumers()) {
    record.consumers.push_back(
        {stored.principal(), stored.version(), LoadTime(stored.has_since(), stored.since()),
         LoadTime(stored.has_last_given(), stored.last_given()), stored.acknowledged()});
  }
  return Record(std::move(record));
}

void ToMessage(const HistoryRecord& record, pb::StoredHistory& message) {
  StoreTime(record.at, message, &pb::StoredHistory::mutable_at);
  StoreTime(record.started_at, message, &pb::StoredHistory::mutable_started_at);
  message.set_what(record.what);
  message.set_outcome(record.outcome);
  message.set_version(record.version);
  message.set_detail(record.detail);
}

absl::StatusOr<Record> FromMessage(const RowKey& key, const pb::StoredHistory& message) {
  HistoryRecord record;
  record.credential = std::string(key.name);
  record.sequence = key.number;
  record.at = LoadTime(message.has_at(), message.at());
  record.started_at = LoadTime(message.has_started_at(), message.started_at());
  record.what = message.what();
  record.outcome = message.outcome();
  record.version = message.version();
  record.detail = message.detail();
  return Record(std::move(record));
}

}  // namespace keyturn::store

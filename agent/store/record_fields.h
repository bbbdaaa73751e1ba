// SPDX-License-Identifier: Apache-2.0
// Field by field between each record and its message. What a message leaves out (names that are in
// the key) comes from the key; what it repeats must agree with it: DATA_LOSS. Private to the codec.
#pragma once

#include "absl/status/statusor.h"
#include "agent/store/records.h"
#include "agent/store/row_key.h"
#include "agent/store/store.h"
#include "keyturn/internal/v1/record.pb.h"

namespace keyturn::store {

void ToMessage(const ProviderRecord& record, internal::v1::StoredProvider& message);
void ToMessage(const PolicyRecord& record, internal::v1::StoredPolicy& message);
void ToMessage(const CredentialRecord& record, internal::v1::StoredCredential& message);
void ToMessage(const VersionRecord& record, internal::v1::StoredVersion& message);
void ToMessage(const RotationRecord& record, internal::v1::StoredRotation& message);
void ToMessage(const TagRecord& record, internal::v1::StoredTag& message);
void ToMessage(const RefreshRecord& record, internal::v1::StoredRefresh& message);
void ToMessage(const ConsumersRecord& record, internal::v1::StoredConsumers& message);
void ToMessage(const HistoryRecord& record, internal::v1::StoredHistory& message);

absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredProvider& message);
absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredPolicy& message);
absl::StatusOr<Record> FromMessage(const RowKey& key,
                                   const internal::v1::StoredCredential& message);
absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredVersion& message);
absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredRotation& message);
absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredTag& message);
absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredRefresh& message);
absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredConsumers& message);
absl::StatusOr<Record> FromMessage(const RowKey& key, const internal::v1::StoredHistory& message);

}  // namespace keyturn::store

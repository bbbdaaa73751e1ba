// SPDX-License-Identifier: Apache-2.0
// Records to the bytes that are sealed and back (proto/keyturn/internal/v1/record.proto). Secrets
// pass through buffers that are wiped: the message, and the bytes, which are a Secret. The bytes of
// a record are always the same, map fields included. Pure functions.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/secret.h"
#include "agent/store/store.h"
#include "google/protobuf/message.h"

namespace keyturn::store {

base::Secret EncodeRecord(const Record& record);

// `key` says what the bytes are and gives the names that they do not repeat. DATA_LOSS when they
// are not such a record, or name another one than the key does.
absl::StatusOr<Record> DecodeRecord(absl::string_view key, absl::string_view bytes);

// Overwrites the bytes of every field marked (secret), at any depth.
void WipeSecretFields(google::protobuf::Message& message);

}  // namespace keyturn::store

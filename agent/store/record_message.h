// SPDX-License-Identifier: Apache-2.0
// Between the fields of records and those of their messages: times, states and values, each a pair
// of functions. Private to the codec.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "agent/base/value.h"
#include "agent/store/records.h"
#include "google/protobuf/repeated_field.h"
#include "google/protobuf/timestamp.pb.h"
#include "keyturn/internal/v1/record.pb.h"

namespace keyturn::store {

using StoredFields = google::protobuf::RepeatedPtrField<internal::v1::StoredField>;

// Nanoseconds are kept, what is finer is cut off. The end of the year 9999 stands for ever.
google::protobuf::Timestamp ToTimestamp(absl::Time time);
absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp);

// An absent field is kNever.
template <class Message>
void StoreTime(absl::Time time, Message& message,
               google::protobuf::Timestamp* (Message::*mutable_field)()) {
  if (time != kNever) *(message.*mutable_field)() = ToTimestamp(time);
}
inline absl::Time LoadTime(bool present, const google::protobuf::Timestamp& timestamp) {
  return present ? FromTimestamp(timestamp) : kNever;
}

internal::v1::StoredBootTime ToStored(const base::BootStamp& stamp);
base::BootStamp LoadBootTime(const internal::v1::StoredBootTime& stored);
// An unknown one is absent.
template <class Message>
void StoreBootTime(const base::BootStamp& stamp, Message& message,
                   internal::v1::StoredBootTime* (Message::*mutable_field)()) {
  if (!stamp.boot_id.empty()) *(message.*mutable_field)() = ToStored(stamp);
}

internal::v1::StoredVersionState ToStored(VersionState state);
// False for a state that this program does not know.
bool FromStored(internal::v1::StoredVersionState stored, VersionState& state);

void ToStored(const base::CredentialValue& value, StoredFields& fields, std::string& primary);
base::CredentialValue FromStored(const StoredFields& fields, const std::string& primary);

}  // namespace keyturn::store

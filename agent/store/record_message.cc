// SPDX-License-Identifier: Apache-2.0
#include "agent/store/record_message.h"

namespace keyturn::store {
namespace {

// 9999-12-31T23:59:59.999999999Z, the last moment a Timestamp may name.
constexpr int64_t kLastSecond = 253402300799;
constexpr int32_t kLastNano = 999999999;

}  // namespace

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  if (time >= absl::FromUnixSeconds(kLastSecond)) {
    timestamp.set_seconds(kLastSecond);
    timestamp.set_nanos(kLastNano);
    return timestamp;
  }
  const int64_t seconds = absl::ToUnixSeconds(time);  // rounds towards the past
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  if (timestamp.seconds() >= kLastSecond) return absl::InfiniteFuture();
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

internal::v1::StoredBootTime ToStored(const base::BootStamp& stamp) {
  internal::v1::StoredBootTime stored;
  stored.set_boot_id(stamp.boot_id);
  const timespec since_boot = absl::ToTimespec(stamp.at.since_boot);
  stored.mutable_since_boot()->set_seconds(since_boot.tv_sec);
  stored.mutable_since_boot()->set_nanos(static_cast<int32_t>(since_boot.tv_nsec));
  return stored;
}

base::BootStamp LoadBootTime(const internal::v1::StoredBootTime& stored) {
  return {stored.boot_id(),
          {absl::Seconds(stored.since_boot().seconds()) +
           absl::Nanoseconds(stored.since_boot().nanos())}};
}

internal::v1::StoredVersionState ToStored(VersionState state) {
  switch (state) {
    case VersionState::kPending:
      return internal::v1::PENDING;
    case VersionState::kCurrent:
      return internal::v1::CURRENT;
    case VersionState::kRetiring:
      return internal::v1::RETIRING;
    case VersionState::kRevoked:
      return internal::v1::REVOKED;
    case VersionState::kFailed:
      return internal::v1::FAILED;
  }
  return internal::v1::STORED_VERSION_STATE_UNSPECIFIED;
}

bool FromStored(internal::v1::StoredVersionState stored, VersionState& state) {
  for (const VersionState known :
       {VersionState::kPending, VersionState::kCurrent, VersionState::kRetiring,
        VersionState::kRevoked, VersionState::kFailed}) {
    if (ToStored(known) == stored) {
      state = known;
      return true;
    }
  }
  return false;
}

void ToStored(const base::CredentialValue& value, StoredFields& fields, std::string& primary) {
  for (const base::Field& field : value.fields) {
    internal::v1::StoredField& stored = *fields.Add();
    stored.set_name(field.name);
    stored.set_value(field.value.Reveal().data(), field.value.size());
    stored.set_is_secret(field.secret);
  }
  primary = value.primary;
}

base::CredentialValue FromStored(const StoredFields& fields, const std::string& primary) {
  base::CredentialValue value;
  for (const internal::v1::StoredField& stored : fields) {
    value.fields.push_back({stored.name(), base::Secret(stored.value()), stored.is_secret()});
  }
  value.primary = primary;
  return value;
}

}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
// Conversion of messages, field by field.
#include "client/lib/messages.h"

#include <utility>

#include "client/lib/status_details.h"

namespace keyturn::client {
namespace {

CredentialKind KindOf(v1::CredentialKind kind) {
  switch (kind) {
    case v1::API_KEY:
      return CredentialKind::kApiKey;
    case v1::OAUTH_TOKEN:
      return CredentialKind::kOAuthToken;
    case v1::STATIC:
      return CredentialKind::kStatic;
    default:
      return CredentialKind::kUnspecified;
  }
}

}  // namespace

absl::Time TimeOf(const google::protobuf::Timestamp& message) {
  return absl::FromUnixSeconds(message.seconds()) + absl::Nanoseconds(message.nanos());
}

absl::Duration DurationOf(const google::protobuf::Duration& message) {
  return absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos());
}

void SetDuration(absl::Duration duration, google::protobuf::Duration& message) {
  absl::Duration rest;
  message.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  message.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

void SetTime(absl::Time time, google::protobuf::Timestamp& message) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  message.set_seconds(seconds);
  message.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

Credential TakeCredential(v1::Credential& message) {
  Credential credential;
  credential.name = message.name();
  credential.kind = KindOf(message.kind());
  credential.version = message.version();
  credential.primary = message.primary();
  for (v1::Field& field : *message.mutable_fields()) {
    credential.fields.push_back(
        {field.name(), SecretString::Take(*field.mutable_value()), field.secret()});
  }
  if (message.has_expires_at()) credential.expires_at = TimeOf(message.expires_at());
  if (message.has_refresh_after()) credential.refresh_after = TimeOf(message.refresh_after());
  credential.header_name = message.attach().header();
  credential.header_format = message.attach().format();
  credential.expiring = message.expiring();
  return credential;
}

absl::Status FailureStatus(const v1::Failure& failure) {
  return FromFailure(failure.code(), failure.reason(), failure.message(),
                     DurationOf(failure.retry_delay()));
}

Identity IdentityOf(const v1::WhoAmIResponse& message) {
  Identity identity;
  identity.principal = message.principal();
  identity.uid = message.uid();
  identity.gid = message.gid();
  identity.pid = message.pid();
  identity.user = message.user();
  identity.groups.assign(message.groups().begin(), message.groups().end());
  identity.admin = message.admin();
  for (const auto& grant : message.grants()) {
    identity.grants.push_back({grant.policy(),
                               {grant.actions().begin(), grant.actions().end()},
                               {grant.names().begin(), grant.names().end()}});
  }
  return identity;
}

}  // namespace keyturn::client

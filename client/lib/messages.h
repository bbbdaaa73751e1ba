// SPDX-License-Identifier: Apache-2.0
// Between the messages of credentials.proto and the types of the public headers. What is secret in
// a message is overwritten once it has been taken out. Pure but for that. Private to the client.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "keyturn/client.h"
#include "keyturn/credential.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::client {

// Moves the credential out of the message and wipes what it held.
Credential TakeCredential(v1::Credential& message);
absl::Status FailureStatus(const v1::Failure& failure);
Identity IdentityOf(const v1::WhoAmIResponse& message);

absl::Time TimeOf(const google::protobuf::Timestamp& message);
absl::Duration DurationOf(const google::protobuf::Duration& message);
void SetDuration(absl::Duration duration, google::protobuf::Duration& message);
void SetTime(absl::Time time, google::protobuf::Timestamp& message);

}  // namespace keyturn::client

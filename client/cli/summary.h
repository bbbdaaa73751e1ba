// SPDX-License-Identifier: Apache-2.0
// Words for what the agent's messages say, shared by the commands that show credentials. Pure.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "keyturn/v1/admin.pb.h"

namespace keyturn::cli {

std::string KindWord(v1::CredentialKind kind);
std::string HealthWord(v1::Health health);

// `in 3d 4h`, or nothing for a time that the message does not have.
std::string RelativeWord(bool present, const google::protobuf::Timestamp& time, absl::Time now);
// `2031-02-03 04:05:06 CET (in 3d 4h)`, or nothing.
std::string TimeWord(bool present, const google::protobuf::Timestamp& time, absl::Time now);
std::string DurationWord(bool present, const google::protobuf::Duration& duration);
// A version's number, or nothing for none.
std::string VersionWord(uint64_t version);

}  // namespace keyturn::cli

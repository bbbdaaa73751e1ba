// SPDX-License-Identifier: Apache-2.0
// Turns a policy resource into one that is decided by: names of users and groups become ids.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/authz/policy.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::authz {

// Principals whose user or group does not exist (any more) are left out and described in `unknown`,
// when that is not null: a policy must never come to match more because a name vanished.
Policy FromSpec(const std::string& name, const v1::PolicySpec& spec,
                std::vector<std::string>* unknown);

// InvalidArgument that names each unknown user and group.
absl::Status CheckSpec(const v1::PolicySpec& spec);

}  // namespace keyturn::authz

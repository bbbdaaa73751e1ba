// SPDX-License-Identifier: Apache-2.0
// Messages as JSON for scripts: keys as in the .proto files, all of them always present; numbers as
// numbers, enum values in lower case, times in RFC 3339, durations as `90s`, null for what is
// absent. Never given a message that holds a secret. Pure.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>

namespace keyturn::cli {

nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

}  // namespace keyturn::cli

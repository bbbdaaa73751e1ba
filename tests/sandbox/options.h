// SPDX-License-Identifier: Apache-2.0
//
// The sandbox's configuration file: JSON, read strictly. The README lists the fields.
// Values and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "tests/sandbox/dify.h"
#include "tests/sandbox/faults.h"
#include "tests/sandbox/oauth.h"

namespace keyturn::sandbox {

struct SandboxOptions {
  DifyOptions dify;
  OauthOptions oauth;
  // In force from the start, and again after each reset.
  std::vector<FaultRule> faults;
  // Without one, every run issues other tokens.
  std::optional<uint64_t> seed;
};

// INVALID_ARGUMENT: names the first thing that is wrong.
absl::StatusOr<SandboxOptions> ParseOptions(const std::string& json_text);

// The lifetime as written on the command line or in the file: at least a second.
absl::StatusOr<absl::Duration> ParseAccessTokenTtl(const std::string& text);

}  // namespace keyturn::sandbox

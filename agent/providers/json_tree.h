// SPDX-License-Identifier: Apache-2.0
// JSON from and to remote services: parsed within limits, looked up by JSON Pointer, wiped after
// use.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/strings/string_view.h"

namespace keyturn::providers {

// Null when the text is no JSON or nests deeper than 32 levels.
std::unique_ptr<nlohmann::json> ParseJson(absl::string_view text);

// Null when the pointer (RFC 6901, well-formed) leads nowhere.
const nlohmann::json* Lookup(const nlohmann::json& tree, const std::string& pointer);

// A string as it is, an integer in decimal, `true` or `false`; false for anything else.
bool ScalarText(const nlohmann::json& value, std::string* text);

// Overwrites every string in the tree and empties it.
void WipeJson(nlohmann::json& tree);

}  // namespace keyturn::providers

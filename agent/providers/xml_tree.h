// SPDX-License-Identifier: Apache-2.0
// XML from remote services, as the JSON tree that the rest of a recipe's reading works on: an
// element with children is an object of them, one without is its text; children of one name become
// an array when there are several. Attributes, comments and namespaces' prefixes are passed over.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "absl/strings/string_view.h"

namespace keyturn::providers {

// Null when the text is no XML, has a document type (and so could define entities), or nests deeper
// than 32 levels.
std::unique_ptr<nlohmann::json> ParseXml(absl::string_view text);

}  // namespace keyturn::providers

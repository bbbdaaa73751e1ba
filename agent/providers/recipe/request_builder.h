// SPDX-License-Identifier: Apache-2.0
// From a recipe's request and the values of one call to an HTTP request. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/net/http_client.h"
#include "agent/providers/recipe/recipe.h"
#include "agent/providers/recipe/template.h"

namespace keyturn::providers {

// `endpoint`, and parameters of format url, have no trailing slash. `cursor` is that of the page
// wanted, empty for the first. Tokens are signed and the request is, with `values.now` as the time.
// InvalidArgument, which names no value, when a value is missing or cannot stand in its place:
// then nothing may be sent.
absl::StatusOr<net::HttpRequest> BuildRequest(const RecipeRequest& request,
                                              const std::string& endpoint, TemplateValues values,
                                              absl::string_view cursor, absl::Duration timeout);

}  // namespace keyturn::providers

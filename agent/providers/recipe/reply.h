// SPDX-License-Identifier: Apache-2.0
// From what a service answered to an outcome. What the recipe reads from a reply that is ok is in
// extract.h. Pure.
#pragma once

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/net/http_client.h"
#include "agent/providers/provider.h"
#include "agent/providers/recipe/recipe.h"

namespace keyturn::providers {

// Sorts by the request's rules. Without a matching rule: 429 is transient; for revoke, 404 and 410
// are ok; all else is unknown for create and revoke and transient for list and verify, as for a GET
// among the later requests of create and revoke.
CallResult SortReply(const RecipeRequest& request, const net::HttpResult& result, absl::Time now);

// Seconds or an HTTP date; at most an hour, zero when absent or senseless.
absl::Duration ParseRetryAfter(absl::string_view text, absl::Time now);

}  // namespace keyturn::providers

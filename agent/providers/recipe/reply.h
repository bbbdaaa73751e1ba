// SPDX-License-Identifier: Apache-2.0
// From what a service answered to an outcome and the parts the recipe asks for. A reply comes from
// outside: nothing in it is trusted beyond the limits here, and nothing of it reaches a log. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/net/http_client.h"
#include "agent/providers/provider.h"
#include "agent/providers/recipe/recipe.h"

namespace keyturn::providers {

// Sorts by the request's rules. Without a matching rule: 429 is transient; for revoke, 404 and 410
// are ok; all else is unknown for create and revoke and transient for list and verify.
CallResult SortReply(const RecipeRequest& request, const net::HttpResult& result, absl::Time now);

// Null when the reply does not hold a usable id and value.
std::optional<MintedKey> ReadMinted(const Recipe& recipe, const net::HttpReply& reply);

struct ListPage {
  std::vector<ListedKey> keys;
  std::string next;  // cursor of the next page; empty at the end
};
// Null when any item is unusable: a list with holes could not be told from a complete one.
std::optional<ListPage> ReadPage(const Recipe& recipe, const net::HttpReply& reply);

// Seconds or an HTTP date; at most an hour, zero when absent or senseless.
absl::Duration ParseRetryAfter(absl::string_view text, absl::Time now);

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/reply.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

namespace pb = internal::v1;
using nlohmann::json;

constexpr size_t kIdLengthMax = 256;
constexpr size_t kTagLengthMax = 256;
constexpr size_t kValueLengthMax = 16 * 1024;
constexpr size_t kCursorLengthMax = 2048;
constexpr size_t kItemsMax = 10'000;
constexpr absl::Duration kRetryAfterMax = absl::Hours(1);

bool Graphic(absl::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool StatusMatches(const pb::Rule& rule, int status) {
  if (rule.status().empty()) return true;
  const std::string text = absl::StrCat(status);
  return std::any_of(rule.status().begin(), rule.status().end(), [&](const std::string& wanted) {
    return wanted == text || (absl::EndsWith(wanted, "xx") && wanted[0] == text[0]);
  });
}

bool Matches(const pb::Match& match, absl::string_view body, const json* tree) {
  std::string text;
  bool exists = false;
  bool is_text = false;
  if (match.at().empty()) {
    text = std::string(body);
    exists = !body.empty();
    is_text = true;
  } else if (const json* found = tree != nullptr ? Lookup(*tree, match.at()) : nullptr) {
    exists = true;
    is_text = ScalarText(*found, &text);
  }
  bool holds = !match.has_exists() || match.exists() == exists;
  if (!match.equals().empty()) holds &= is_text && text == match.equals();
  if (!match.contains().empty()) holds &= is_text && absl::StrContains(text, match.contains());
  base::Wipe(text);
  return holds;
}

Outcome ToOutcome(pb::Outcome outcome) {
  switch (outcome) {
    case pb::OK:
      return Outcome::kOk;
    case pb::REJECTED:
      return Outcome::kRejected;
    case pb::LIMITED:
      return Outcome::kLimited;
    case pb::TRANSIENT:
      return Outcome::kTransient;
    default:
      return Outcome::kUnknown;
  }
}

bool Changes(RecipeCall call) { return call == RecipeCall::kCreate || call == RecipeCall::kRevoke; }

Outcome WithoutRule(RecipeCall call, int status) {
  if (status == 429) return Outcome::kTransient;
  if (call == RecipeCall::kRevoke && (status == 404 || status == 410)) return Outcome::kOk;
  return Changes(call) ? Outcome::kUnknown : Outcome::kTransient;
}

// The text at the pointer if it is a scalar of graphic characters within the limit; else empty.
std::string Take(const json& tree, const std::string& pointer, size_t length_max) {
  std::string text;
  const json* found = Lookup(tree, pointer);
  if (found == nullptr || !ScalarText(*found, &text)) return "";
  if (text.size() > length_max || !Graphic(text)) base::Wipe(text);
  return text;
}

// Empty when any part is missing.
base::CredentialValue TakeValue(const json& tree, const pb::Extract& extract) {
  std::string primary = Take(tree, extract.value(), kValueLengthMax);
  if (primary.empty()) return {};
  base::CredentialValue value = base::CredentialValue::Of(base::Secret::Take(primary));
  std::vector<std::string> names;
  for (const auto& [name, unused] : extract.fields()) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    std::string text = Take(tree, extract.fields().at(name), kValueLengthMax);
    if (text.empty()) return {};
    value.fields.push_back({name, base::Secret::Take(text), true});
  }
  return value;
}

// What the recipe says a new key looks like.
bool LooksRight(const pb::Recipe::Value& wanted, absl::string_view value) {
  return absl::StartsWith(value, wanted.prefix()) && value.size() >= wanted.min_length() &&
         (wanted.max_length() == 0 || value.size() <= wanted.max_length());
}

}  // namespace

CallResult SortReply(const RecipeRequest& request, const net::HttpResult& result, absl::Time now) {
  CallResult call;
  call.cause = result.cause;
  if (result.delivery == net::Delivery::kNotSent) {
    call.outcome = Outcome::kTransient;
    return call;
  }
  if (result.delivery == net::Delivery::kUnknown) {
    call.outcome = Changes(request.call) ? Outcome::kUnknown : Outcome::kTransient;
    return call;
  }
  const net::HttpReply& reply = result.reply;
  call.http_status = reply.status;
  call.outcome = WithoutRule(request.call, reply.status);
  const std::unique_ptr<json> tree = ParseJson(reply.body.Reveal());
  const absl::Cleanup wipe = [&] {
    if (tree != nullptr) WipeJson(*tree);
  };
  for (const pb::Rule& rule : request.spec.outcomes()) {
    if (!StatusMatches(rule, reply.status)) continue;
    if (!std::all_of(rule.match().begin(), rule.match().end(), [&](const pb::Match& match) {
          return Matches(match, reply.body.Reveal(), tree.get());
        })) {
      continue;
    }
    call.outcome = ToOutcome(rule.is());
    break;
  }
  if (call.outcome != Outcome::kOk) {
    call.cause = absl::StrCat("http_", reply.status);
    call.retry_after = ParseRetryAfter(reply.Header("retry-after"), now);
  }
  return call;
}

std::optional<MintedKey> ReadMinted(const Recipe& recipe, const net::HttpReply& reply) {
  const std::unique_ptr<json> tree = ParseJson(reply.body.Reveal());
  if (tree == nullptr) return std::nullopt;
  const absl::Cleanup wipe = [&] { WipeJson(*tree); };
  const pb::Extract& extract = recipe.spec.create().extract();
  MintedKey minted;
  minted.id = Take(*tree, extract.id(), kIdLengthMax);
  minted.value = TakeValue(*tree, extract);
  if (minted.id.empty() || minted.value.empty() ||
      !LooksRight(recipe.spec.value(), minted.value.Primary()->Reveal())) {
    return std::nullopt;
  }
  return minted;
}

std::optional<ListPage> ReadPage(const Recipe& recipe, const net::HttpReply& reply) {
  const std::unique_ptr<json> tree = ParseJson(reply.body.Reveal());
  if (tree == nullptr) return std::nullopt;
  const absl::Cleanup wipe = [&] { WipeJson(*tree); };
  const pb::Extract& extract = recipe.spec.list().extract();
  const json* items = Lookup(*tree, extract.items());
  if (items == nullptr || !items->is_array() || items->size() > kItemsMax) return std::nullopt;
  ListPage page;
  for (const json& item : *items) {
    ListedKey key;
    key.id = Take(item, extract.id(), kIdLengthMax);
    if (key.id.empty()) return std::nullopt;
    if (!extract.tag().empty()) {
      // A key without a tag, or with one that is not ours to read, is somebody else's.
      key.tag = Take(item, extract.tag(), kTagLengthMax);
    }
    if (!extract.value().empty()) {
      key.value = TakeValue(item, extract);
      if (key.value.empty()) return std::nullopt;
    }
    page.keys.push_back(std::move(key));
  }
  if (recipe.spec.list().has_paging()) {
    const json* next = Lookup(*tree, recipe.spec.list().paging().next());
    const bool ends =
        next == nullptr || next->is_null() || *next == json(false) || *next == json("");
    if (!ends) {
      if (!ScalarText(*next, &page.next) || page.next.size() > kCursorLengthMax) {
        return std::nullopt;
      }
    }
  }
  return page;
}

absl::Duration ParseRetryAfter(absl::string_view text, absl::Time now) {
  int64_t seconds = 0;
  absl::Duration wait;
  absl::Time date;
  if (absl::SimpleAtoi(text, &seconds)) {
    wait = absl::Seconds(seconds);
  } else if (absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", text, &date, nullptr)) {
    wait = date - now;
  }
  return std::clamp(wait, absl::ZeroDuration(), kRetryAfterMax);
}

}  // namespace keyturn::providers

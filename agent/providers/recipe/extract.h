// SPDX-License-Identifier: Apache-2.0
// From a reply to the parts that a recipe asks for. A reply comes from outside: nothing in it is
// trusted beyond the limits here, and nothing of it reaches a log. Pure.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/net/http_client.h"
#include "agent/providers/provider.h"
#include "agent/providers/recipe/recipe.h"

namespace keyturn::providers {

// JSON, or XML where the recipe says so; null when it is neither. Wipe it.
std::unique_ptr<nlohmann::json> ParseReply(const RecipeRequest& request,
                                           const net::HttpReply& reply);

// `tree` may be null. Without a pointer it is the whole body that is looked at.
bool MatchHolds(const internal::v1::Match& match, absl::string_view body,
                const nlohmann::json* tree);

// What the requests of one create have read so far.
struct NewParts {
  std::string id;
  base::Secret value;
  std::vector<base::Field> fields;  // sorted by name
  std::vector<base::Field> kept;
  std::optional<absl::Time> expires_at;

  // All of it under its names, for placeholders: id, value (primary), fields and kept.
  base::CredentialValue ForTemplates() const;
};

// Adds what this request's extract names. False when something it names is not to be read: `parts`
// is then of no use. `values` is for placeholders in extract.find, and its slot chooses the value
// of class dual_slot.
bool ReadParts(const Recipe& recipe, const RecipeRequest& request, const net::HttpReply& reply,
               const TemplateValues& values, NewParts* parts);

// The key made of them, if it is whole and looks as the recipe says; what a class knows without the
// reply comes from `asked`: the secret of chosen, the slot, the id that roll keeps.
std::optional<MintedKey> FinishKey(const Recipe& recipe, NewParts parts, absl::string_view known_id,
                                   const base::Secret& chosen);

struct ListPage {
  std::vector<ListedKey> keys;
  // As many as keys; empty texts where the recipe reads none.
  std::vector<std::string> hints;
  size_t items = 0;  // those passed over included
  // Cursor of the next page. With pages that are counted, the caller knows it.
  std::string next;
  // False: certainly no page after this one.
  bool more = false;
};
// Null when any item is unusable: a list with holes could not be told from a complete one.
std::optional<ListPage> ReadPage(const Recipe& recipe, const net::HttpReply& reply);

struct ManagerToken {
  base::Secret value;
  std::optional<absl::Time> expires_at;
};
std::optional<ManagerToken> ReadManagerToken(const Recipe& recipe, const net::HttpReply& reply,
                                             absl::Time now);

// Whether a key may be the one of which a service shows this: its beginning and its end, with at
// least two dots, stars or an ellipsis between. False for hints that would fit many keys: fewer
// than 6 known characters, those of the prefix that all keys share not counted, or fewer than 4 at
// the end.
bool HintFits(absl::string_view hint, absl::string_view key, absl::string_view prefix);

}  // namespace keyturn::providers

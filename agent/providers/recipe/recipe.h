// SPDX-License-Identifier: Apache-2.0
// A recipe (docs/RECIPES.md), read and checked so that running it can no longer meet a mistake of
// its author. Immutable after reading, hence thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/providers/provider.h"
#include "agent/providers/recipe/template.h"
#include "keyturn/internal/v1/recipe.pb.h"

namespace keyturn::providers {

enum class RecipeCall { kCreate, kList, kVerify, kRevoke };

// `create`, `list`, `verify`, `revoke`.
const char* CallName(RecipeCall call);

// One request, with its templates parsed.
struct RecipeRequest {
  using Named = std::vector<std::pair<std::string, Template>>;

  RecipeCall call = RecipeCall::kCreate;
  std::string method;
  Template path;
  Named query;
  Named headers;  // the recipe's own included, unless overridden
  Named form;
  std::optional<std::pair<Template, Template>> basic_auth;
  // Strings in `json` are templates in this scope; they were all parsed once, so they parse.
  TemplateScope scope;
  internal::v1::Request spec;
};

struct Recipe {
  internal::v1::Recipe spec;
  Traits traits;
  RecipeRequest create;
  RecipeRequest list;
  RecipeRequest revoke;
  std::optional<RecipeRequest> verify;
  // Whether any request needs the manager credential.
  bool needs_manager = false;
};

// InvalidArgument opens with FILE:LINE:COLUMN and says what is wrong.
absl::StatusOr<std::shared_ptr<const Recipe>> ReadRecipe(absl::string_view yaml,
                                                         absl::string_view file_name);

// OK, or what is wrong with a parameter's value for this format (`uuid`, `slug`, `number`, `text`).
absl::Status CheckParam(absl::string_view format, absl::string_view value);

}  // namespace keyturn::providers

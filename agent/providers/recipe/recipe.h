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

enum class RecipeCall { kCreate, kList, kVerify, kRevoke, kManagerToken };

// `create`, `list`, `verify`, `revoke`, `manager_token`.
const char* CallName(RecipeCall call);

// A token to be signed for a request.
struct RecipeJwt {
  using Named = std::vector<std::pair<std::string, Template>>;

  std::string name;
  internal::v1::JwtAlgorithm algorithm = internal::v1::JWT_ALGORITHM_UNSPECIFIED;
  Template key;
  Named claims;
  Named header;
  absl::Duration lifetime;
  absl::Duration backdate;
};

struct RecipeAwsSignature {
  Template service;
  Template region;
  Template access_key_id;
  Template secret_access_key;
  Template session_token;
};

// One request, with its templates parsed.
struct RecipeRequest {
  using Named = std::vector<std::pair<std::string, Template>>;

  RecipeCall call = RecipeCall::kCreate;
  // One of `then`.
  bool is_step = false;
  std::string method;
  Template path;
  Named query;
  Named headers;  // the recipe's own included, unless overridden
  Named form;
  std::optional<std::pair<Template, Template>> basic_auth;
  std::optional<RecipeAwsSignature> aws_signature;
  // Those that its texts name.
  std::vector<RecipeJwt> jwts;
  bool uses_manager_token = false;
  Template find_equals;
  // Strings in `json` are templates in this scope; they were all parsed once, so they parse.
  TemplateScope scope;
  internal::v1::Request spec;
  bool xml = false;
  std::vector<RecipeRequest> then;
};

struct Recipe {
  internal::v1::Recipe spec;
  // The file's text, for people.
  std::string yaml;
  Traits traits;
  std::optional<RecipeRequest> create;
  std::optional<RecipeRequest> list;
  std::optional<RecipeRequest> revoke;
  std::optional<RecipeRequest> verify;
  std::optional<RecipeRequest> manager_token;
  // Of the parameters alone.
  Template first_id;
  // Whether any request needs the manager credential.
  bool needs_manager = false;
  // Class manual: revoke names a key by its id, which is found by what the list shows of the key.
  bool finds_by_hint = false;
};

// InvalidArgument opens with FILE:LINE:COLUMN and says what is wrong.
absl::StatusOr<std::shared_ptr<const Recipe>> ReadRecipe(absl::string_view yaml,
                                                         absl::string_view file_name);

// OK, or what is wrong with a parameter's value for this format.
absl::Status CheckParam(absl::string_view format, absl::string_view value);

}  // namespace keyturn::providers

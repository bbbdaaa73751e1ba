// SPDX-License-Identifier: Apache-2.0
// The checks behind ReadRecipe: what a recipe's class needs, and what each request may hold. Every
// check knows its path, so that the error can say where in the file it is. Collects the first
// error; checks after it do nothing. Used once, by one thread.
#pragma once

#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/base/strict_yaml.h"
#include "agent/providers/recipe/recipe.h"

namespace keyturn::providers {

// Whether all characters are letters, digits or in `extra`.
bool AllOf(absl::string_view text, absl::string_view extra);

class RecipeChecker {
 public:
  RecipeChecker(const internal::v1::Recipe& spec, const base::SourceMap& where)
      : spec_(spec), where_(where) {}

  absl::Status status() const { return status_; }

  void Top(absl::string_view file_name);
  RecipeRequest Request(RecipeCall call, const internal::v1::Request& spec);
  // What only shows when all requests have been read.
  void Whole(Recipe* recipe);

 private:
  using Path = base::YamlPath;
  using StringMap = google::protobuf::Map<std::string, std::string>;

  void Fail(const Path& path, absl::string_view message) {
    if (status_.ok()) status_ = where_.Error(path, message);
  }
  // recipe_checker.cc: the recipe as a whole.
  void Params();
  void ClassNeeds();
  void Slots();
  void Lifetime();
  void CreateExtracts();
  void ListExtracts();

  // request_checker.cc: single requests.
  TemplateScope ScopeOf(RecipeCall call) const;
  RecipeRequest One(const Path& path, RecipeCall call, bool is_step,
                    const internal::v1::Request& spec, const TemplateScope& scope);
  void Steps(const Path& path, RecipeRequest* request);
  Template Parse(const Path& path, absl::string_view text, const TemplateScope& scope);
  void Named(const Path& path, const StringMap& map, const TemplateScope& scope,
             RecipeRequest::Named* out);
  void Headers(const Path& path, RecipeRequest* request);
  void UrlPath(const Path& path, RecipeRequest* request);
  void Json(const Path& path, const google::protobuf::Value& value, RecipeRequest* request);
  void Body(const Path& path, RecipeRequest* request);
  void Signature(const Path& path, RecipeRequest* request);
  void Jwts(RecipeRequest* request);
  void Extract(const Path& path, const RecipeRequest& request);
  void Picks(const Path& path, const google::protobuf::Map<std::string, internal::v1::Pick>& picks);
  void Matches(const Path& path,
               const google::protobuf::RepeatedPtrField<internal::v1::Match>& matches);
  void Pointer(const Path& path, const std::string& pointer);
  void Paging(const Path& path, const RecipeRequest& request);
  void Rules(const Path& path, const RecipeRequest& request);
  void Status(const Path& path, const std::string& text);

  const internal::v1::Recipe& spec_;
  const base::SourceMap& where_;
  absl::Status status_;
  // Of the request being read.
  std::set<std::string> used_jwts_;
  bool used_manager_token_ = false;
  // Of all.
  std::set<std::string> ever_used_jwts_;
};

}  // namespace keyturn::providers

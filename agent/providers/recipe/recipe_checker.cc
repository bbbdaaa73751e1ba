// SPDX-License-Identifier: Apache-2.0
// What concerns the recipe as a whole; single requests are checked in request_checker.cc.
#include "agent/providers/recipe/recipe_checker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/ids.h"

namespace keyturn::providers {

namespace pb = internal::v1;

namespace {

constexpr uint32_t kTagLengthMin = 16;
constexpr uint32_t kSecretLengthMin = 20;
constexpr uint32_t kSecretLengthMax = 1024;

base::YamlPath operator/(base::YamlPath path, std::string step) {
  path.push_back(std::move(step));
  return path;
}

bool Uses(const pb::Request& request, absl::string_view placeholder) {
  return absl::StrContains(request.ShortDebugString(), placeholder);
}

}  // namespace

bool AllOf(absl::string_view text, absl::string_view extra) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains(extra, absl::string_view(&c, 1));
  });
}

void RecipeChecker::Top(absl::string_view file_name) {
  if (!base::CheckName("recipe", spec_.recipe()).ok() || absl::StrContains(spec_.recipe(), "/")) {
    Fail({"recipe"}, "must be the recipe's name, of a-z 0-9 . _ -");
  }
  const absl::string_view file = file_name.substr(file_name.rfind('/') + 1);
  if (absl::EndsWith(file, ".yaml") && file != absl::StrCat(spec_.recipe(), ".yaml")) {
    Fail({"recipe"}, absl::StrCat("must be the file's own name without .yaml, which is \"",
                                  file.substr(0, file.size() - 5), "\""));
  }
  if (spec_.class_() == pb::RECIPE_CLASS_UNSPECIFIED) {
    Fail({"class"},
         "is missing; one of tagged, untagged, listed, chosen, dual_slot, roll, self_roll, manual");
  }
  Params();
  if (spec_.tag_max_length() != 0 && spec_.tag_max_length() < kTagLengthMin) {
    Fail({"tag_max_length"}, absl::StrCat("must be at least ", kTagLengthMin));
  }
  if (spec_.secret_length() != 0 &&
      (spec_.secret_length() < kSecretLengthMin || spec_.secret_length() > kSecretLengthMax)) {
    Fail({"secret_length"},
         absl::StrCat("must be between ", kSecretLengthMin, " and ", kSecretLengthMax));
  }
  const auto& value = spec_.value();
  if (value.max_length() != 0 && value.max_length() < value.min_length()) {
    Fail({"value", "max_length"}, "is smaller than min_length");
  }
  if (!value.format().empty() && !absl::StrContains(value.format(), "{value}")) {
    Fail({"value", "format"}, "must hold {value}");
  }
  Lifetime();
  Slots();
  ClassNeeds();
}

void RecipeChecker::Params() {
  const std::set<std::string> formats = {"",     "uuid", "slug", "number",   "text",
                                         "bool", "list", "json", "duration", "url"};
  for (const auto& [name, param] : spec_.params()) {
    const Path path = {"params", name};
    if (name.empty() || !AllOf(name, "_")) Fail(path, "a parameter's name is of a-z 0-9 _");
    if (formats.count(param.format()) == 0) {
      Fail(path / "format", "must be uuid, slug, number, text, bool, list, json, duration or url");
    }
    if (param.required() && !param.default_().empty()) {
      Fail(path / "default", "a required parameter has no default");
    }
    if (!param.default_().empty()) {
      if (auto bad = CheckParam(param.format(), param.default_()); !bad.ok()) {
        Fail(path / "default", bad.message());
      }
    }
  }
}

void RecipeChecker::Lifetime() {
  if (spec_.lifetime().empty()) return;
  const auto found = spec_.params().find(spec_.lifetime());
  if (found == spec_.params().end() || found->second.format() != "duration") {
    Fail({"lifetime"}, "must be the name of a parameter of format duration");
  }
}

void RecipeChecker::Slots() {
  const int count = spec_.slots_size();
  const bool wanted = spec_.class_() == pb::DUAL_SLOT || spec_.class_() == pb::CHOSEN;
  if (!wanted && count > 0) Fail({"slots"}, "are for classes dual_slot and chosen");
  if (spec_.class_() == pb::DUAL_SLOT && count != 2) Fail({"slots"}, "must be exactly two");
  if (spec_.class_() == pb::CHOSEN && count != 0 && count != 2) {
    Fail({"slots"}, "must be exactly two, or none");
  }
  for (int i = 0; i < count; ++i) {
    const Path path = {"slots", absl::StrCat(i)};
    const std::string& id = spec_.slots(i).id();
    if (id.empty() || id.size() > 64 || !AllOf(id, "-_.")) {
      Fail(path, "a slot's id is of letters, digits, and - _ .");
    }
    if (i > 0 && id == spec_.slots(0).id()) Fail(path, "stands here twice");
    Pointer(path / "at", spec_.slots(i).at());
  }
}

void RecipeChecker::ClassNeeds() {
  const auto needs = [&](bool has, const char* name, const char* why) {
    if (!has) Fail({}, absl::StrCat("the request \"", name, "\" is missing; ", why));
  };
  const auto recipe_class = spec_.class_();
  const bool dies = spec_.timing().has_expires_by_itself();
  if (dies && recipe_class != pb::UNTAGGED) {
    Fail({"timing", "expires_by_itself"}, "is for class untagged");
  }
  if (recipe_class == pb::MANUAL) {
    if (spec_.has_create()) Fail({"create"}, "class manual has none: a person brings the key");
  } else {
    needs(spec_.has_create(), "create", "every class but manual has one");
  }
  if (recipe_class == pb::TAGGED || recipe_class == pb::LISTED || recipe_class == pb::DUAL_SLOT) {
    needs(spec_.has_list(), "list", "this class needs it");
  }
  if (recipe_class == pb::TAGGED || recipe_class == pb::LISTED || recipe_class == pb::CHOSEN) {
    needs(spec_.has_revoke(), "revoke", "this class needs it");
  }
  if (recipe_class == pb::UNTAGGED && !dies) {
    const char* why = "class untagged needs it unless timing.expires_by_itself says otherwise";
    needs(spec_.has_list(), "list", why);
    needs(spec_.has_revoke(), "revoke", why);
  }
  if (recipe_class == pb::SELF_ROLL) {
    needs(spec_.has_verify(), "verify", "only it can say whether the old key still lives");
    if (spec_.has_list()) Fail({"list"}, "class self_roll has no manager to list with");
  }
  if (!spec_.first_id().empty() && recipe_class != pb::ROLL) {
    Fail({"first_id"}, "is for class roll");
  }
}

void RecipeChecker::CreateExtracts() {
  const auto recipe_class = spec_.class_();
  const auto& first = spec_.create();
  bool id = first.extract().has_id();
  bool value = first.extract().has_value();
  for (const auto& step : first.then()) {
    id |= step.extract().has_id();
    value |= step.extract().has_value();
  }
  const bool by_slot = recipe_class == pb::DUAL_SLOT;
  if (!value && !by_slot && recipe_class != pb::CHOSEN) {
    Fail({"create", "extract"}, "value is missing: the key itself");
  }
  const bool named =
      recipe_class == pb::TAGGED || recipe_class == pb::LISTED ||
      (recipe_class == pb::UNTAGGED && (spec_.has_list() || Uses(spec_.revoke(), "{key.id}")));
  if (named && !id) Fail({"create", "extract"}, "id is missing: what revoke will name");
  if (recipe_class == pb::TAGGED && !Uses(first, "{tag}")) {
    Fail({"create"}, "does not use {tag}; without it the class is untagged");
  }
  if (recipe_class == pb::CHOSEN && !Uses(first, "{secret}")) {
    Fail({"create"}, "does not use {secret}, which class chosen is about");
  }
  if (by_slot && !Uses(first, "{slot}")) {
    Fail({"create"}, "does not use {slot}, so it could not say which key to regenerate");
  }
  if (recipe_class == pb::SELF_ROLL && !Uses(first, "{key")) {
    Fail({"create"}, "does not use {key}, which is what replaces itself");
  }
}

void RecipeChecker::ListExtracts() {
  const auto& list = spec_.list().extract();
  const Path path = {"list", "extract"};
  const bool by_slot = spec_.class_() == pb::DUAL_SLOT;
  if (!list.has_id() && !by_slot) Fail(path, "id is missing");
  if (by_slot && list.has_id() && !list.has_value()) Fail(path, "value is missing");
  if (spec_.class_() == pb::TAGGED && list.tag().empty()) {
    Fail(path, "tag is missing; without it the class is untagged");
  }
  if (spec_.class_() == pb::LISTED && !list.has_value()) {
    Fail(path, "value is missing; without it the class is untagged or tagged");
  }
}

void RecipeChecker::Whole(Recipe* recipe) {
  if (spec_.has_create()) CreateExtracts();
  if (spec_.has_list()) ListExtracts();
  if (spec_.class_() == pb::MANUAL && Uses(spec_.revoke(), "{key.id}") &&
      spec_.list().extract().hint().empty()) {
    Fail({"revoke"},
         "uses {key.id}, which class manual finds by a hint: list.extract.hint is missing");
  }
  if (spec_.has_manager_token() && !spec_.manager_token().extract().has_value()) {
    Fail({"manager_token"}, "extract.value is missing: the token itself");
  }
  for (const auto& [name, unused] : spec_.jwts()) {
    if (ever_used_jwts_.count(name) == 0) {
      Fail({"jwts", name}, absl::StrCat("no request uses {jwt.", name, "}"));
    }
  }
  TemplateScope scope;
  for (const auto& [name, unused] : spec_.params()) scope.params.insert(name);
  recipe->first_id = Parse({"first_id"}, spec_.first_id(), scope);
}

}  // namespace keyturn::providers

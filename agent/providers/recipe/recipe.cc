// SPDX-License-Identifier: Apache-2.0
// From YAML to a checked recipe, and from that to what rotation decides by.
#include "agent/providers/recipe/recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/duration_text.h"
#include "agent/base/strict_yaml.h"
#include "agent/net/url.h"
#include "agent/providers/json_tree.h"
#include "agent/providers/recipe/recipe_checker.h"

namespace keyturn::providers {
namespace {

using base::ToDuration;

namespace pb = internal::v1;

constexpr uint32_t kTagLengthDefault = 64;

ProviderClass ToClass(pb::RecipeClass recipe_class) {
  switch (recipe_class) {
    case pb::TAGGED:
      return ProviderClass::kTagged;
    case pb::LISTED:
      return ProviderClass::kListed;
    case pb::CHOSEN:
      return ProviderClass::kChosen;
    case pb::DUAL_SLOT:
      return ProviderClass::kDualSlot;
    case pb::ROLL:
      return ProviderClass::kRoll;
    case pb::SELF_ROLL:
      return ProviderClass::kSelfRoll;
    case pb::MANUAL:
      return ProviderClass::kManual;
    default:
      return ProviderClass::kUntagged;
  }
}

Traits TraitsOf(const pb::Recipe& spec) {
  Traits traits;
  traits.provider_class = ToClass(spec.class_());
  traits.key_limit = spec.limit();
  const auto& timing = spec.timing();
  if (timing.has_propagation()) traits.propagation = ToDuration(timing.propagation());
  if (timing.has_settle()) traits.settle = ToDuration(timing.settle());
  if (timing.has_cached_for()) traits.cached_for = ToDuration(timing.cached_for());
  if (timing.has_expires_by_itself()) {
    traits.expires_by_itself = ToDuration(timing.expires_by_itself());
  }
  traits.can_verify = spec.has_verify();
  // The ids of keys that people bring are not known, so a list could not be compared with them.
  traits.can_list = spec.has_list() && spec.class_() != pb::MANUAL;
  traits.can_revoke = spec.has_revoke() || spec.class_() == pb::DUAL_SLOT;
  for (const auto& slot : spec.slots()) traits.slots.push_back(slot.id());
  if (spec.secret_length() != 0) traits.secret_length = spec.secret_length();
  traits.value_prefix = spec.value().prefix();
  traits.value_min_length = spec.value().min_length();
  traits.value_max_length = spec.value().max_length();
  traits.tag_max_length = spec.tag_max_length() == 0 ? kTagLengthDefault : spec.tag_max_length();
  traits.attach_header = spec.value().header();
  traits.attach_format = spec.value().format();
  return traits;
}

// Whether a placeholder of the manager stands anywhere; in verify it cannot.
bool NeedsManager(const pb::Recipe& spec) {
  pb::Recipe others = spec;
  others.clear_title();
  others.clear_sources();
  others.clear_uncertain();
  others.clear_params();
  return absl::StrContains(others.ShortDebugString(), "{manager");
}

bool Digits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
}

bool IsUuid(absl::string_view value) {
  bool good = value.size() == 36;
  for (size_t i = 0; good && i < value.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    good = dash ? value[i] == '-' : absl::ascii_isxdigit(static_cast<unsigned char>(value[i]));
  }
  return good;
}

}  // namespace

const char* CallName(RecipeCall call) {
  switch (call) {
    case RecipeCall::kCreate:
      return "create";
    case RecipeCall::kList:
      return "list";
    case RecipeCall::kVerify:
      return "verify";
    case RecipeCall::kRevoke:
      return "revoke";
    case RecipeCall::kManagerToken:
      return "manager_token";
  }
  return "";
}

absl::StatusOr<std::shared_ptr<const Recipe>> ReadRecipe(absl::string_view yaml,
                                                         absl::string_view file_name) {
  auto recipe = std::make_shared<Recipe>();
  base::SourceMap where;
  if (auto status = base::ParseYaml(yaml, file_name, &recipe->spec, &where); !status.ok()) {
    return status;
  }
  const pb::Recipe& spec = recipe->spec;
  RecipeChecker checker(spec, where);
  checker.Top(file_name);
  if (!checker.status().ok()) return checker.status();
  if (spec.has_create()) recipe->create = checker.Request(RecipeCall::kCreate, spec.create());
  if (spec.has_list()) recipe->list = checker.Request(RecipeCall::kList, spec.list());
  if (spec.has_revoke()) recipe->revoke = checker.Request(RecipeCall::kRevoke, spec.revoke());
  if (spec.has_verify()) recipe->verify = checker.Request(RecipeCall::kVerify, spec.verify());
  if (spec.has_manager_token()) {
    recipe->manager_token = checker.Request(RecipeCall::kManagerToken, spec.manager_token());
  }
  checker.Whole(recipe.get());
  if (!checker.status().ok()) return checker.status();
  recipe->yaml = std::string(yaml);
  recipe->traits = TraitsOf(spec);
  recipe->needs_manager = NeedsManager(spec);
  recipe->finds_by_hint = spec.class_() == pb::MANUAL &&
                          absl::StrContains(spec.revoke().ShortDebugString(), "{key.id}");
  return recipe;
}

absl::Status CheckParam(absl::string_view format, absl::string_view value) {
  constexpr size_t kLengthMax = 1024;
  constexpr size_t kJsonLengthMax = 16 * 1024;
  if (value.size() > (format == "json" ? kJsonLengthMax : kLengthMax)) {
    return absl::InvalidArgumentError("is too long");
  }
  for (const char c : value) {
    if (c < 0x20 || c >= 0x7f) {
      return absl::InvalidArgumentError("must be of printable ASCII characters");
    }
  }
  if (format == "uuid" && !IsUuid(value)) {
    return absl::InvalidArgumentError(
        "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000");
  }
  if (format == "slug" && (value.empty() || !AllOf(value, "-_.") || value[0] == '.')) {
    return absl::InvalidArgumentError("must be of letters, digits, and - _ .");
  }
  if (format == "number" && (!Digits(value) || value.size() > 15)) {
    return absl::InvalidArgumentError("must be a whole number");
  }
  if (format == "bool" && value != "true" && value != "false") {
    return absl::InvalidArgumentError("must be \"true\" or \"false\"");
  }
  if (format == "list" && value.empty()) {
    return absl::InvalidArgumentError("must be texts with commas between them");
  }
  if (format == "json" && ParseJson(value) == nullptr) {
    return absl::InvalidArgumentError("must be JSON");
  }
  if (format == "duration") {
    const auto duration = base::ParseDuration(value);
    if (!duration.ok()) return duration.status();
    if (*duration < absl::Seconds(1)) return absl::InvalidArgumentError("must be at least 1s");
  }
  if (format == "url") {
    const auto url = net::ParseUrl(value);
    if (!url.ok()) return url.status();
    if (url->has_query_or_fragment) {
      return absl::InvalidArgumentError("must have neither ? nor #; paths follow it");
    }
  }
  return absl::OkStatus();
}

}  // namespace keyturn::providers

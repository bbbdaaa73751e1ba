// SPDX-License-Identifier: Apache-2.0
// Text with placeholders (docs/RECIPES.md lists them): `{params.NAME}`, `{manager}`, `{key.id}`,
// `{tag}`, `{expires_at.date}` and so on; `{{` and `}}` are braces. A template is checked once,
// when the recipe is read; how values are escaped depends on the place the text goes to, not on the
// recipe's author. Immutable, hence thread-safe.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/secret.h"
#include "agent/base/value.h"

namespace keyturn::providers {

// What a placeholder may name at one place of a recipe.
struct TemplateScope {
  std::set<std::string> params;
  // Formats of those that have one, by name: decide what becomes of a parameter within JSON.
  std::map<std::string, std::string> param_formats;
  std::set<std::string> manager_fields;
  std::set<std::string> key_fields;
  std::set<std::string> new_fields;
  std::set<std::string> jwts;
  bool manager = false;
  bool manager_token = false;
  bool key = false;
  bool key_id = false;
  bool slot = false;
  bool secret = false;
  bool tag = false;
  bool new_key = false;
  bool lifetime = false;
};

// What placeholders stand for in one call. Pointers may be null where the scope excludes them.
struct TemplateValues {
  const std::map<std::string, std::string>* params = nullptr;
  const base::CredentialValue* manager = nullptr;
  const base::CredentialValue* key = nullptr;
  const base::Secret* manager_token = nullptr;
  const base::Secret* secret = nullptr;
  const std::map<std::string, base::Secret>* jwts = nullptr;
  // What earlier requests of the same call have read: `{new}` and `{new.NAME}`.
  const base::CredentialValue* new_key = nullptr;
  absl::string_view key_id;
  absl::string_view slot;
  absl::string_view tag;
  absl::Time now = absl::UnixEpoch();
  // Zero: the provider resource names none.
  absl::Duration lifetime = absl::ZeroDuration();
};

class Template {
 public:
  enum class Place {
    kText,   // as it is: JSON strings and the parts of basic auth, which are encoded later
    kPath,   // literals as they are; values are one percent-encoded segment, or part of one
    kQuery,  // everything percent-encoded: query strings and forms
    kHeader  // printable ASCII, else refused
  };
  // What a text that is one placeholder and nothing else may become within JSON.
  enum class JsonKind { kText, kNumber, kBool, kList, kJson };

  Template() = default;
  // InvalidArgument says which placeholder is unknown and which there are.
  static absl::StatusOr<Template> Parse(absl::string_view text, const TemplateScope& scope);

  // The text with its values in place. It may hold secrets: wipe it. InvalidArgument, without the
  // value, when a value is missing or cannot stand in this place.
  absl::StatusOr<std::string> Render(const TemplateValues& values, Place place) const;

  // True for a text that is nothing but one placeholder of something that may be absent (a
  // parameter, a tag, a lifetime) and is: then the thing whose value it is, is left out.
  bool LeftOut(const TemplateValues& values) const;
  JsonKind json_kind() const { return json_kind_; }
  bool empty() const { return parts_.empty(); }
  bool uses_tag() const;
  bool uses_manager_token() const;
  // Names of the tokens that must be signed before this can be rendered.
  std::vector<std::string> jwts() const;

 private:
  enum class Source {
    kLiteral,
    kParam,
    kManager,
    kManagerPart,
    kManagerToken,
    kKey,
    kKeyPart,
    kKeyId,
    kSlot,
    kSecret,
    kTag,
    kNew,
    kJwt,
    kNow,
    kExpiresAt,
    kExpiresIn
  };
  struct Part {
    Source source = Source::kLiteral;
    // The literal, the field's name (empty: the primary one), the JSON Pointer, the time's format.
    std::string text;
  };
  static absl::StatusOr<Part> ParsePlaceholder(absl::string_view name, const TemplateScope& scope);
  static JsonKind KindOf(const Part& part, const TemplateScope& scope);
  // What is not there as a text is made in `made`.
  static absl::StatusOr<absl::string_view> Find(const Part& part, const TemplateValues& values,
                                                std::deque<std::string>* made);

  std::vector<Part> parts_;
  JsonKind json_kind_ = JsonKind::kText;
};

}  // namespace keyturn::providers

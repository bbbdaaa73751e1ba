// SPDX-License-Identifier: Apache-2.0
// Text with placeholders: `{params.NAME}`, `{manager}`, `{manager.FIELD}`, `{key}`, `{key.FIELD}`,
// `{key.id}`, `{tag}`; `{{` and `}}` are braces. A template is checked once, when the recipe is
// read; how values are escaped depends on the place the text goes to, not on the recipe's author.
// Immutable, hence thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/value.h"

namespace keyturn::providers {

// What a placeholder may name at one place of a recipe.
struct TemplateScope {
  std::set<std::string> params;
  std::set<std::string> manager_fields;
  std::set<std::string> key_fields;
  bool manager = false;
  bool key = false;
  bool key_id = false;
  bool tag = false;
};

// What placeholders stand for in one call. Pointers may be null where the scope excludes them.
struct TemplateValues {
  const std::map<std::string, std::string>* params = nullptr;
  const base::CredentialValue* manager = nullptr;
  const base::CredentialValue* key = nullptr;
  absl::string_view key_id;
  absl::string_view tag;
};

class Template {
 public:
  enum class Place {
    kText,   // as it is: JSON strings and the parts of basic auth, which are encoded later
    kPath,   // literals as they are; values are one percent-encoded segment, or part of one
    kQuery,  // everything percent-encoded: query strings and forms
    kHeader  // printable ASCII, else refused
  };

  Template() = default;
  // InvalidArgument says which placeholder is unknown and which there are.
  static absl::StatusOr<Template> Parse(absl::string_view text, const TemplateScope& scope);

  // The text with its values in place. It may hold secrets: wipe it. InvalidArgument, without the
  // value, when a value is missing or cannot stand in this place.
  absl::StatusOr<std::string> Render(const TemplateValues& values, Place place) const;

  bool uses_tag() const;

 private:
  enum class Source { kLiteral, kParam, kManager, kKey, kKeyId, kTag };
  struct Part {
    Source source = Source::kLiteral;
    std::string text;  // the literal, or the field's name; empty: the primary field
  };
  static absl::StatusOr<Part> ParsePlaceholder(absl::string_view name, const TemplateScope& scope);
  static absl::StatusOr<absl::string_view> Find(const Part& part, const TemplateValues& values);

  std::vector<Part> parts_;
};

}  // namespace keyturn::providers

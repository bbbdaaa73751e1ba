// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/secret.h"

namespace keyturn::providers {
namespace {

constexpr char kHex[] = "0123456789ABCDEF";

void AppendPercentEncoded(absl::string_view text, std::string* out) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '_' || c == '.' || c == '~') {
      out->push_back(c);
    } else {
      out->push_back('%');
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
    }
  }
}

bool Printable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::string Known(const TemplateScope& scope) {
  std::vector<std::string> names;
  for (const std::string& name : scope.params) names.push_back(absl::StrCat("{params.", name, "}"));
  if (scope.manager) names.push_back("{manager}");
  for (const std::string& name : scope.manager_fields) {
    names.push_back(absl::StrCat("{manager.", name, "}"));
  }
  if (scope.key) names.push_back("{key}");
  for (const std::string& name : scope.key_fields)
    names.push_back(absl::StrCat("{key.", name, "}"));
  if (scope.key_id) names.push_back("{key.id}");
  if (scope.tag) names.push_back("{tag}");
  return names.empty() ? "none" : absl::StrJoin(names, ", ");
}

}  // namespace

absl::StatusOr<Template::Part> Template::ParsePlaceholder(absl::string_view name,
                                                          const TemplateScope& scope) {
  const size_t dot = name.find('.');
  const absl::string_view head = name.substr(0, dot);
  const std::string field(dot == absl::string_view::npos ? "" : name.substr(dot + 1));
  const bool whole = dot == absl::string_view::npos;
  if (head == "params" && scope.params.count(field) > 0) return Part{Source::kParam, field};
  if (head == "manager" && scope.manager && (whole || scope.manager_fields.count(field) > 0)) {
    return Part{Source::kManager, field};
  }
  if (name == "key.id" && scope.key_id) return Part{Source::kKeyId, ""};
  if (head == "key" && scope.key && (whole || scope.key_fields.count(field) > 0)) {
    return Part{Source::kKey, field};
  }
  if (name == "tag" && scope.tag) return Part{Source::kTag, ""};
  return absl::InvalidArgumentError(absl::StrCat("unknown placeholder {",
                                                 absl::Utf8SafeCEscape(name.substr(0, 60)),
                                                 "}; known here: ", Known(scope)));
}

absl::StatusOr<Template> Template::Parse(absl::string_view text, const TemplateScope& scope) {
  Template result;
  std::string literal;
  const auto flush = [&] {
    if (!literal.empty()) result.parts_.push_back({Source::kLiteral, literal});
    literal.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool doubled = at + 1 < text.size() && text[at + 1] == c;
    if (c != '{' && c != '}') {
      literal += c;
    } else if (doubled) {
      literal += c;
      ++at;
    } else if (c == '}') {
      return absl::InvalidArgumentError("a } without its {; write }} for a brace");
    } else {
      const size_t end = text.find('}', at);
      if (end == absl::string_view::npos) {
        return absl::InvalidArgumentError("a { without its }; write {{ for a brace");
      }
      flush();
      auto part = ParsePlaceholder(text.substr(at + 1, end - at - 1), scope);
      if (!part.ok()) return part.status();
      result.parts_.push_back(*std::move(part));
      at = end;
    }
  }
  flush();
  return result;
}

absl::StatusOr<absl::string_view> Template::Find(const Part& part, const TemplateValues& values) {
  const auto field = [&](const base::CredentialValue* value,
                         const char* whose) -> absl::StatusOr<absl::string_view> {
    const base::Secret* secret = value == nullptr    ? nullptr
                                 : part.text.empty() ? value->Primary()
                                                     : value->Find(part.text);
    if (secret != nullptr) return secret->Reveal();
    return absl::InvalidArgumentError(absl::StrCat("the ", whose, " has no field \"",
                                                   part.text.empty() ? "value" : part.text, "\""));
  };
  switch (part.source) {
    case Source::kLiteral:
      return absl::string_view(part.text);
    case Source::kParam: {
      const auto found = values.params->find(part.text);
      if (found == values.params->end()) return absl::string_view();
      return absl::string_view(found->second);
    }
    case Source::kManager:
      return field(values.manager, "manager credential");
    case Source::kKey:
      return field(values.key, "key");
    case Source::kKeyId:
      return values.key_id;
    case Source::kTag:
      return values.tag;
  }
  return absl::string_view();
}

absl::StatusOr<std::string> Template::Render(const TemplateValues& values, Place place) const {
  std::vector<absl::string_view> texts;
  size_t size = 0;
  for (const Part& part : parts_) {
    const auto text = Find(part, values);
    if (!text.ok()) return text.status();
    texts.push_back(*text);
    size += text->size();
  }
  std::string out;
  // Room for the worst case at once: a string that grows leaves copies of secrets behind.
  out.reserve(place == Place::kText || place == Place::kHeader ? size : 3 * size);
  for (size_t i = 0; i < parts_.size(); ++i) {
    const bool literal = parts_[i].source == Source::kLiteral;
    // An empty or dotted segment would be another path than the recipe means.
    if (place == Place::kPath && !literal &&
        (texts[i].empty() || texts[i] == "." || texts[i] == "..")) {
      base::Wipe(out);
      return absl::InvalidArgumentError("a value in the path is empty or made of dots");
    }
    if (place == Place::kQuery || (place == Place::kPath && !literal)) {
      AppendPercentEncoded(texts[i], &out);
    } else {
      absl::StrAppend(&out, texts[i]);
    }
  }
  if (place == Place::kHeader && !Printable(out)) {
    base::Wipe(out);
    return absl::InvalidArgumentError("a value in a header has characters that cannot stand there");
  }
  return out;
}

bool Template::uses_tag() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.source == Source::kTag; });
}

}  // namespace keyturn::providers

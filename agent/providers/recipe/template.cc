// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/template.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

constexpr char kHex[] = "0123456789ABCDEF";
const std::set<std::string>& TimeFormats() {
  static const auto& formats = *new std::set<std::string>{"rfc3339", "date", "unix"};
  return formats;
}

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
  const auto add = [&](absl::string_view head, const std::set<std::string>& fields) {
    for (const std::string& name : fields) names.push_back(absl::StrCat("{", head, name, "}"));
  };
  add("params.", scope.params);
  if (scope.manager) names.push_back("{manager}");
  add("manager.", scope.manager_fields);
  if (scope.manager_token) names.push_back("{manager_token}");
  add("jwt.", scope.jwts);
  if (scope.key) names.push_back("{key}");
  add("key.", scope.key_fields);
  if (scope.key_id) names.push_back("{key.id}");
  if (scope.slot) names.push_back("{slot}");
  if (scope.secret) names.push_back("{secret}");
  if (scope.tag) names.push_back("{tag}");
  if (scope.new_key) add("new.", scope.new_fields);
  if (scope.lifetime) names.push_back("{expires_at.rfc3339}");
  return names.empty() ? "none" : absl::StrJoin(names, ", ");
}

std::string TimeText(absl::Time time, absl::string_view format) {
  if (format == "unix") return absl::StrCat(absl::ToUnixSeconds(time));
  return absl::FormatTime(format == "date" ? "%Y-%m-%d" : "%Y-%m-%dT%H:%M:%SZ", time,
                          absl::UTCTimeZone());
}

// The text at a pointer into a value that is itself a JSON document.
std::optional<std::string> PartOf(const base::Secret* document, const std::string& pointer) {
  if (document == nullptr) return std::nullopt;
  const auto tree = ParseJson(document->Reveal());
  if (tree == nullptr) return std::nullopt;
  const absl::Cleanup wipe = [&] { WipeJson(*tree); };
  const nlohmann::json* found = Lookup(*tree, pointer);
  std::string text;
  if (found == nullptr || !ScalarText(*found, &text)) return std::nullopt;
  return text;
}

}  // namespace

absl::StatusOr<Template::Part> Template::ParsePlaceholder(absl::string_view name,
                                                          const TemplateScope& scope) {
  const size_t dot = name.find('.');
  const size_t slash = name.find('/');
  const absl::string_view head = name.substr(0, std::min(dot, slash));
  const std::string field(dot == absl::string_view::npos ? "" : name.substr(dot + 1));
  const bool whole = dot == absl::string_view::npos;
  if (slash < dot) {
    const std::string pointer(name.substr(slash));
    if (head == "manager" && scope.manager) return Part{Source::kManagerPart, pointer};
    if (head == "key" && scope.key) return Part{Source::kKeyPart, pointer};
  }
  if (head == "params" && scope.params.count(field) > 0) return Part{Source::kParam, field};
  if (head == "manager" && scope.manager && (whole || scope.manager_fields.count(field) > 0)) {
    return Part{Source::kManager, field};
  }
  if (name == "manager_token" && scope.manager_token) return Part{Source::kManagerToken, ""};
  if (head == "jwt" && scope.jwts.count(field) > 0) return Part{Source::kJwt, field};
  if (name == "key.id" && scope.key_id) return Part{Source::kKeyId, ""};
  if (head == "key" && scope.key && (whole || scope.key_fields.count(field) > 0)) {
    return Part{Source::kKey, field};
  }
  if (name == "slot" && scope.slot) return Part{Source::kSlot, ""};
  if (name == "secret" && scope.secret) return Part{Source::kSecret, ""};
  if (name == "tag" && scope.tag) return Part{Source::kTag, ""};
  if (head == "new" && scope.new_key && scope.new_fields.count(field) > 0) {
    return Part{Source::kNew, field};
  }
  if (head == "now" && TimeFormats().count(field) > 0) return Part{Source::kNow, field};
  if (head == "expires_at" && scope.lifetime && TimeFormats().count(field) > 0) {
    return Part{Source::kExpiresAt, field};
  }
  if (name == "expires_in.seconds" && scope.lifetime) return Part{Source::kExpiresIn, ""};
  return absl::InvalidArgumentError(absl::StrCat("unknown placeholder {",
                                                 absl::Utf8SafeCEscape(name.substr(0, 60)),
                                                 "}; known here: ", Known(scope)));
}

Template::JsonKind Template::KindOf(const Part& part, const TemplateScope& scope) {
  const bool time = part.source == Source::kNow || part.source == Source::kExpiresAt;
  if (part.source == Source::kExpiresIn || (time && part.text == "unix")) return JsonKind::kNumber;
  if (part.source != Source::kParam) return JsonKind::kText;
  const auto found = scope.param_formats.find(part.text);
  if (found == scope.param_formats.end()) return JsonKind::kText;
  if (found->second == "number") return JsonKind::kNumber;
  if (found->second == "bool") return JsonKind::kBool;
  if (found->second == "list") return JsonKind::kList;
  if (found->second == "json") return JsonKind::kJson;
  return JsonKind::kText;
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
  if (result.parts_.size() == 1) result.json_kind_ = KindOf(result.parts_[0], scope);
  return result;
}

absl::StatusOr<absl::string_view> Template::Find(const Part& part, const TemplateValues& values,
                                                 std::deque<std::string>* made) {
  const auto known = [&](const base::Secret* secret,
                         const char* whose) -> absl::StatusOr<absl::string_view> {
    if (secret != nullptr) return secret->Reveal();
    return absl::InvalidArgumentError(absl::StrCat("the ", whose, " has no field \"",
                                                   part.text.empty() ? "value" : part.text, "\""));
  };
  const auto field = [&](const base::CredentialValue* value) -> const base::Secret* {
    if (value == nullptr) return nullptr;
    return part.text.empty() ? value->Primary() : value->Find(part.text);
  };
  const auto keep = [&](std::string text) -> absl::string_view {
    return made->emplace_back(std::move(text));
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
      return known(field(values.manager), "manager credential");
    case Source::kKey:
      return known(field(values.key), "key");
    case Source::kNew:
      return known(field(values.new_key), "new key");
    case Source::kManagerToken:
      return known(values.manager_token, "manager token");
    case Source::kSecret:
      return known(values.secret, "new secret");
    case Source::kManagerPart:
    case Source::kKeyPart: {
      const auto* value = part.source == Source::kKeyPart ? values.key : values.manager;
      auto text = PartOf(value == nullptr ? nullptr : value->Primary(), part.text);
      if (text.has_value()) return keep(*std::move(text));
      return absl::InvalidArgumentError(
          absl::StrCat("a value is no JSON document with a text at ", part.text));
    }
    case Source::kJwt: {
      if (values.jwts == nullptr) return known(nullptr, "request");
      const auto found = values.jwts->find(part.text);
      return known(found == values.jwts->end() ? nullptr : &found->second, "request");
    }
    case Source::kKeyId:
      return values.key_id;
    case Source::kSlot:
      return values.slot;
    case Source::kTag:
      return values.tag;
    case Source::kNow:
      return keep(TimeText(values.now, part.text));
    case Source::kExpiresAt:
      if (values.lifetime == absl::ZeroDuration()) return absl::string_view();
      return keep(TimeText(values.now + values.lifetime, part.text));
    case Source::kExpiresIn:
      if (values.lifetime == absl::ZeroDuration()) return absl::string_view();
      return keep(absl::StrCat(absl::ToInt64Seconds(values.lifetime)));
  }
  return absl::string_view();
}

absl::StatusOr<std::string> Template::Render(const TemplateValues& values, Place place) const {
  // A deque, because views into it must outlive what is added later.
  std::deque<std::string> made;
  const absl::Cleanup wipe = [&] {
    for (std::string& text : made) base::Wipe(text);
  };
  std::vector<absl::string_view> texts;
  size_t size = 0;
  for (const Part& part : parts_) {
    const auto text = Find(part, values, &made);
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

bool Template::LeftOut(const TemplateValues& values) const {
  if (parts_.size() != 1) return false;
  const Part& part = parts_[0];
  switch (part.source) {
    case Source::kParam: {
      const auto found = values.params->find(part.text);
      return found == values.params->end() || found->second.empty();
    }
    case Source::kTag:
      return values.tag.empty();
    case Source::kExpiresAt:
    case Source::kExpiresIn:
      return values.lifetime == absl::ZeroDuration();
    default:
      return false;
  }
}

bool Template::uses_tag() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.source == Source::kTag; });
}

bool Template::uses_manager_token() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.source == Source::kManagerToken; });
}

std::vector<std::string> Template::jwts() const {
  std::vector<std::string> names;
  for (const Part& part : parts_) {
    if (part.source == Source::kJwt) names.push_back(part.text);
  }
  return names;
}

}  // namespace keyturn::providers

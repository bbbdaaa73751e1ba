// SPDX-License-Identifier: Apache-2.0
// From the tree to the message, by reflection: what a field's descriptor says is all that is
// accepted. The depth of the tree is bounded by the scanner, so recursion is safe.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/duration_text.h"
#include "agent/base/strict_yaml.h"
#include "agent/base/yaml_node.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::base {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kKeysShown = 24;

std::string Quoted(absl::string_view text) {
  constexpr size_t kShown = 60;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, kShown)),
                      text.size() > kShown ? "..." : "", "\"");
}

// Levenshtein's distance.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// `; known keys: a, b (did you mean "b"?)`.
std::string Suggest(absl::string_view what, absl::string_view given,
                    const std::vector<std::string>& known) {
  std::string nearest;
  size_t least = given.size() / 3 + 2;
  for (const std::string& name : known) {
    if (given.size() > 64) break;
    const size_t distance = Distance(given, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  std::vector<std::string> shown(
      known.begin(),
      known.begin() + static_cast<std::ptrdiff_t>(std::min(known.size(), kKeysShown)));
  if (shown.size() < known.size()) shown.push_back("...");
  std::string text = absl::StrCat("; known ", what, ": ", absl::StrJoin(shown, ", "));
  if (!nearest.empty()) absl::StrAppend(&text, " (did you mean \"", nearest, "\"?)");
  return text;
}

// Without the text itself: where a map belongs, people write secrets by mistake.
std::string Kind(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      return "a text";
  }
  return "";
}

std::string Found(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar) return Kind(node);
  return absl::StrCat(node.quoted ? "the quoted text " : "", Quoted(node.text));
}

}  // namespace

// A field of a message, or one of its list items, to be filled.
struct YamlReader::Target {
  Message* message;
  const FieldDescriptor* field;

  const Reflection* reflection() const { return message->GetReflection(); }
  Message* Sub() const {
    return field->is_repeated() ? reflection()->AddMessage(message, field)
                                : reflection()->MutableMessage(message, field);
  }
  // One of Reflection's Set/Add pairs.
  template <typename Value, typename Set, typename Add>
  void Put(Value value, Set set, Add add) const {
    if (field->is_repeated()) {
      (reflection()->*add)(message, field, std::move(value));
    } else {
      (reflection()->*set)(message, field, std::move(value));
    }
  }
};

PlainMeaning MeaningOf(absl::string_view plain) {
  if (plain.empty() || plain == "~" || absl::EqualsIgnoreCase(plain, "null")) {
    return PlainMeaning::kNull;
  }
  if (plain == "true" || plain == "false") return PlainMeaning::kBool;
  // The grammar of a JSON number.
  size_t at = plain[0] == '-' ? 1 : 0;
  const auto digits = [&] {
    const size_t from = at;
    while (at < plain.size() && absl::ascii_isdigit(static_cast<unsigned char>(plain[at]))) ++at;
    return at - from;
  };
  const size_t integer_at = at;
  const size_t integer_size = digits();
  if (integer_size == 0 || (integer_size > 1 && plain[integer_at] == '0')) {
    return PlainMeaning::kText;
  }
  if (at < plain.size() && plain[at] == '.') {
    ++at;
    if (digits() == 0) return PlainMeaning::kText;
  }
  if (at < plain.size() && (plain[at] == 'e' || plain[at] == 'E')) {
    ++at;
    if (at < plain.size() && (plain[at] == '+' || plain[at] == '-')) ++at;
    if (digits() == 0) return PlainMeaning::kText;
  }
  return at == plain.size() ? PlainMeaning::kNumber : PlainMeaning::kText;
}

std::string PathText(const YamlPath& path) {
  std::string text;
  for (const std::string& step : path) {
    // A list's index, not a key: keys are names, and none of ours is a number.
    if (!text.empty() && !step.empty() &&
        std::all_of(step.begin(), step.end(),
                    [](unsigned char c) { return absl::ascii_isdigit(c); })) {
      absl::StrAppend(&text, "[", step, "]");
    } else {
      absl::StrAppend(&text, text.empty() ? "" : ".", absl::Utf8SafeCEscape(step));
    }
  }
  return text;
}

std::string SourceMap::At(const YamlPath& path) const {
  for (YamlPath nearest = path;; nearest.pop_back()) {
    const auto found = places_.find(nearest);
    if (found != places_.end()) {
      return absl::StrCat(file_name_, ":", found->second.first, ":", found->second.second);
    }
    if (nearest.empty()) return file_name_;
  }
}

absl::Status SourceMap::Error(const YamlPath& path, absl::string_view message) const {
  const std::string at = At(path);
  return absl::InvalidArgumentError(
      absl::StrCat(at, at.empty() ? "" : ": ", PathText(path), path.empty() ? "" : ": ", message));
}

YamlReader::YamlReader(absl::string_view file_name, SourceMap* where)
    : file_name_(file_name), where_(where) {
  if (where_ != nullptr) {
    where_->file_name_ = file_name_;
    where_->places_.clear();
  }
}

absl::Status YamlReader::Read(const YamlNode& root, Message* out) {
  Remember(root);
  return ReadMessage(root, out);
}

absl::Status YamlReader::Error(const YamlNode& at, absl::string_view message) const {
  return absl::InvalidArgumentError(
      absl::StrCat(file_name_, ":", at.line, ":", at.column, ": ", message));
}

std::string YamlReader::Place() const {
  return path_.empty() ? " at the top level" : absl::StrCat(" in ", PathText(path_));
}

void YamlReader::Remember(const YamlNode& at) {
  if (where_ != nullptr) where_->places_[path_] = {at.line, at.column};
}

absl::Status YamlReader::ReadMessage(const YamlNode& node, Message* out) {
  const Descriptor* type = out->GetDescriptor();
  if (type->full_name() == "google.protobuf.Duration") return ReadDuration(node, out);
  if (type->full_name() == "google.protobuf.Value") return ReadValue(node, out);
  const std::string& short_form = type->options().GetExtension(v1::short_form);
  if (node.kind == YamlNode::Kind::kScalar && !short_form.empty()) {
    return ReadField(node, {out, type->FindFieldByName(short_form)});
  }
  if (node.kind != YamlNode::Kind::kMap) {
    return Error(node, absl::StrCat("expected a map", Place(), ", found ", Kind(node)));
  }
  for (const auto& [key, value] : node.entries) {
    const FieldDescriptor* field = type->FindFieldByName(key.text);
    if (field == nullptr) {
      std::vector<std::string> known;
      known.reserve(static_cast<size_t>(type->field_count()));
      for (int i = 0; i < type->field_count(); ++i) known.push_back(type->field(i)->name());
      return Error(key, absl::StrCat("unknown key ", Quoted(key.text), Place(),
                                     Suggest("keys", key.text, known)));
    }
    const auto* oneof = field->real_containing_oneof();
    if (oneof != nullptr && out->GetReflection()->HasOneof(*out, oneof)) {
      const auto* other = out->GetReflection()->GetOneofFieldDescriptor(*out, oneof);
      return Error(key, absl::StrCat(Quoted(key.text), " and ", Quoted(other->name()),
                                     " exclude each other", Place()));
    }
    path_.push_back(key.text);
    Remember(key);
    if (auto status = ReadField(value, {out, field}); !status.ok()) return status;
    path_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status YamlReader::ReadField(const YamlNode& node, const Target& target) {
  if (target.field->is_map()) return ReadMap(node, target);
  if (target.field->is_repeated()) return ReadList(node, target);
  return ReadOne(node, target);
}

absl::Status YamlReader::ReadMap(const YamlNode& node, const Target& target) {
  if (node.kind != YamlNode::Kind::kMap) {
    return Error(
        node,
        absl::StrCat("expected a map", Place(), ", found ", Kind(node),
                     node.kind == YamlNode::Kind::kNull ? "; write {} for an empty one" : ""));
  }
  const FieldDescriptor* key_field = target.field->message_type()->map_key();
  const FieldDescriptor* value_field = target.field->message_type()->map_value();
  if (key_field->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
    return Error(node, absl::StrCat("cannot be given in YAML", Place()));
  }
  for (const auto& [key, value] : node.entries) {
    path_.push_back(key.text);
    Remember(key);
    Message* entry = target.reflection()->AddMessage(target.message, target.field);
    entry->GetReflection()->SetString(entry, key_field, key.text);
    if (auto status = ReadOne(value, {entry, value_field}); !status.ok()) return status;
    path_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status YamlReader::ReadList(const YamlNode& node, const Target& target) {
  if (node.kind != YamlNode::Kind::kList) {
    return Error(node,
                 absl::StrCat("expected a list", Place(), ", found ", Kind(node),
                              node.kind == YamlNode::Kind::kNull ? "; write [] for an empty one"
                                                                 : "; write it in [ ]"));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    path_.push_back(absl::StrCat(i));
    Remember(node.items[i]);
    if (auto status = ReadOne(node.items[i], target); !status.ok()) return status;
    path_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status YamlReader::ReadOne(const YamlNode& node, const Target& target) {
  const auto number = [&](auto value, auto set, auto add) {
    absl::Status status = ReadNumber(node, &value);
    if (status.ok()) target.Put(value, set, add);
    return status;
  };
  switch (target.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ReadMessage(node, target.Sub());
    case FieldDescriptor::CPPTYPE_ENUM:
      return ReadEnum(node, target);
    case FieldDescriptor::CPPTYPE_INT32:
      return number(int32_t{0}, &Reflection::SetInt32, &Reflection::AddInt32);
    case FieldDescriptor::CPPTYPE_INT64:
      return number(int64_t{0}, &Reflection::SetInt64, &Reflection::AddInt64);
    case FieldDescriptor::CPPTYPE_UINT32:
      return number(uint32_t{0}, &Reflection::SetUInt32, &Reflection::AddUInt32);
    case FieldDescriptor::CPPTYPE_UINT64:
      return number(uint64_t{0}, &Reflection::SetUInt64, &Reflection::AddUInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return number(double{0}, &Reflection::SetDouble, &Reflection::AddDouble);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return number(float{0}, &Reflection::SetFloat, &Reflection::AddFloat);
    case FieldDescriptor::CPPTYPE_BOOL: {
      bool value = false;
      if (auto status = ReadBool(node, &value); !status.ok()) return status;
      target.Put(value, &Reflection::SetBool, &Reflection::AddBool);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      if (target.field->type() == FieldDescriptor::TYPE_BYTES) break;
      std::string value;
      if (auto status = ReadText(node, &value); !status.ok()) return status;
      target.Put(std::move(value), &Reflection::SetString, &Reflection::AddString);
      return absl::OkStatus();
    }
  }
  return Error(node, absl::StrCat("cannot be given in YAML", Place()));
}

absl::Status YamlReader::ReadEnum(const YamlNode& node, const Target& target) {
  const EnumDescriptor* type = target.field->enum_type();
  std::vector<std::string> known;
  for (int i = 0; i < type->value_count(); ++i) {
    const EnumValueDescriptor* value = type->value(i);
    // The proto's zero stands for absence.
    if (absl::EndsWith(value->name(), "_UNSPECIFIED")) continue;
    const std::string name = absl::AsciiStrToLower(value->name());
    if (node.kind == YamlNode::Kind::kScalar && node.text == name) {
      target.Put(value, &Reflection::SetEnum, &Reflection::AddEnum);
      return absl::OkStatus();
    }
    known.push_back(name);
  }
  const std::string given = node.kind == YamlNode::Kind::kScalar ? node.text : "";
  return Error(node, absl::StrCat("expected one of a few words", Place(), ", found ", Found(node),
                                  Suggest("words", given, known)));
}

template <typename Number>
absl::Status YamlReader::ReadNumber(const YamlNode& node, Number* out) const {
  if (node.kind != YamlNode::Kind::kScalar || node.quoted ||
      MeaningOf(node.text) != PlainMeaning::kNumber) {
    return Error(node, absl::StrCat("expected a number", Place(), ", found ", Found(node)));
  }
  bool fits = false;
  if constexpr (std::is_same_v<Number, float>) {
    fits = absl::SimpleAtof(node.text, out) && std::isfinite(*out);
  } else if constexpr (std::is_same_v<Number, double>) {
    fits = absl::SimpleAtod(node.text, out) && std::isfinite(*out);
  } else {
    fits = absl::SimpleAtoi(node.text, out);
    if (!fits) {
      return Error(
          node,
          absl::StrCat("expected a whole number from ", std::numeric_limits<Number>::min(), " to ",
                       std::numeric_limits<Number>::max(), Place(), ", found ", Found(node)));
    }
  }
  if (!fits) return Error(node, absl::StrCat("number out of range", Place()));
  return absl::OkStatus();
}

absl::Status YamlReader::ReadBool(const YamlNode& node, bool* out) const {
  if (node.kind != YamlNode::Kind::kScalar || node.quoted ||
      MeaningOf(node.text) != PlainMeaning::kBool) {
    return Error(node, absl::StrCat("expected true or false", Place(), ", found ", Found(node)));
  }
  *out = node.text == "true";
  return absl::OkStatus();
}

absl::Status YamlReader::ReadText(const YamlNode& node, std::string* out) const {
  if (node.kind != YamlNode::Kind::kScalar) {
    return Error(
        node,
        absl::StrCat("expected a text", Place(), ", found ", Found(node),
                     node.kind == YamlNode::Kind::kNull ? "; write \"\" for an empty one" : ""));
  }
  *out = node.text;
  return absl::OkStatus();
}

absl::Status YamlReader::ReadDuration(const YamlNode& node, Message* out) const {
  std::string text;
  if (node.kind != YamlNode::Kind::kScalar) {
    return Error(node, absl::StrCat("expected a duration such as 90d or 1h30m", Place(), ", found ",
                                    Found(node)));
  }
  const auto duration = ParseDuration(node.text);
  if (!duration.ok()) return Error(node, absl::StrCat(duration.status().message(), Place()));
  absl::Duration rest = *duration;
  const int64_t seconds = absl::IDivDuration(rest, absl::Seconds(1), &rest);
  auto* typed = static_cast<google::protobuf::Duration*>(out);
  typed->set_seconds(seconds);
  typed->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return absl::OkStatus();
}

absl::Status YamlReader::ReadValue(const YamlNode& node, Message* out) const {
  auto* value = static_cast<google::protobuf::Value*>(out);
  if (node.kind == YamlNode::Kind::kList) {
    value->mutable_list_value();
    for (const YamlNode& item : node.items) {
      if (auto s = ReadValue(item, value->mutable_list_value()->add_values()); !s.ok()) return s;
    }
    return absl::OkStatus();
  }
  if (node.kind == YamlNode::Kind::kMap) {
    auto* fields = value->mutable_struct_value()->mutable_fields();
    for (const auto& [key, entry] : node.entries) {
      if (auto status = ReadValue(entry, &(*fields)[key.text]); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  const bool scalar = node.kind == YamlNode::Kind::kScalar;
  const PlainMeaning meaning = !scalar       ? PlainMeaning::kNull
                               : node.quoted ? PlainMeaning::kText
                                             : MeaningOf(node.text);
  switch (meaning) {
    case PlainMeaning::kNull:
      value->set_null_value(google::protobuf::NULL_VALUE);
      break;
    case PlainMeaning::kBool:
      value->set_bool_value(node.text == "true");
      break;
    case PlainMeaning::kText:
      value->set_string_value(node.text);
      break;
    case PlainMeaning::kNumber: {
      constexpr double kExactMax = 9007199254740992.0;  // 2^53
      double number = 0;
      if (!absl::SimpleAtod(node.text, &number) || std::abs(number) > kExactMax) {
        return Error(node, absl::StrCat("number too large to be kept exactly", Place(),
                                        "; quote it if a text will do"));
      }
      value->set_number_value(number);
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace keyturn::base

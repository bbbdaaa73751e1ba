// SPDX-License-Identifier: Apache-2.0
// A message as YAML in block style. Written by hand rather than with an emitter: what has to be
// quoted follows from what our own reader takes for something else than text.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/base/duration_text.h"
#include "agent/base/strict_yaml.h"
#include "agent/base/yaml_node.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::base {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Words that other readers of YAML take for a bool.
bool LooksLikeBool(absl::string_view text) {
  for (absl::string_view word : {"true", "false", "yes", "no", "on", "off", "y", "n"}) {
    if (absl::EqualsIgnoreCase(text, word)) return true;
  }
  return false;
}

bool CanStandPlain(absl::string_view text, bool is_key) {
  if (text.empty() || MeaningOf(text) != PlainMeaning::kText) return false;
  // As a key, `on` is ours and stays readable.
  if (!is_key && LooksLikeBool(text)) return false;
  const auto first = static_cast<unsigned char>(text[0]);
  // Not a digit: 0x10, 1_000, 12:30 and dates are numbers to other readers.
  if (!absl::ascii_isalpha(first) && first != '/' && first != '_') return false;
  if (text.back() == ':') return false;
  // URLs and globs are common and read better without quotes.
  const absl::string_view others = is_key ? "_-./@+" : "_-./@+:*";
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains(others, absl::string_view(&c, 1));
  });
}

std::string Scalar(absl::string_view text, bool is_key = false) {
  if (CanStandPlain(text, is_key)) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&quoted, "\\x%02X", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

// The shortest text that reads back as the same number.
std::string Number(double number) {
  if (number == std::floor(number) && std::abs(number) < 1e15) {
    return absl::StrFormat("%.0f", number);
  }
  for (int digits = 6; digits < 17; ++digits) {
    std::string text = absl::StrFormat("%.*g", digits, number);
    double back = 0;
    if (absl::SimpleAtod(text, &back) && back == number) return text;
  }
  return absl::StrFormat("%.17g", number);
}

class Writer {
 public:
  std::string Take() { return std::move(out_); }

  // Each of these is called with the cursor behind `key:` or `-` and ends with a line end.
  void Fields(const Message& message, int indent) {
    std::vector<const FieldDescriptor*> set;
    message.GetReflection()->ListFields(message, &set);
    // ListFields goes by number; people expect the order in which the proto declares.
    std::sort(set.begin(), set.end(),
              [](const auto* a, const auto* b) { return a->index() < b->index(); });
    if (set.empty()) {
      out_ += " {}\n";
      return;
    }
    out_ += "\n";
    for (const FieldDescriptor* field : set) {
      Key(field->name(), indent);
      if (field->is_map()) {
        Map(message, field, indent + 2);
      } else if (field->is_repeated()) {
        List(message, field, indent + 2);
      } else {
        One(message, field, -1, indent + 2);
      }
    }
  }

 private:
  void Key(absl::string_view name, int indent) {
    out_.append(static_cast<size_t>(indent), ' ');
    absl::StrAppend(&out_, Scalar(name, true), ":");
  }
  // The position behind the dash.
  size_t Dash(int indent) {
    out_.append(static_cast<size_t>(indent), ' ');
    out_ += "-";
    return out_.size();
  }
  // `- key: value` rather than a dash on a line of its own: the break and the indentation behind
  // the dash are as wide as what the dash itself takes.
  void Tighten(size_t dash, int indent) {
    if (out_[dash] == '\n') out_.replace(dash, static_cast<size_t>(indent) + 1, " ");
  }
  void Line(absl::string_view text) { absl::StrAppend(&out_, " ", text, "\n"); }

  void Map(const Message& message, const FieldDescriptor* field, int indent) {
    const Reflection* reflection = message.GetReflection();
    const FieldDescriptor* key = field->message_type()->map_key();
    std::vector<const Message*> entries;
    entries.reserve(static_cast<size_t>(reflection->FieldSize(message, field)));
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      entries.push_back(&reflection->GetRepeatedMessage(message, field, i));
    }
    const auto key_of = [key](const Message* entry) {
      return entry->GetReflection()->GetString(*entry, key);
    };
    std::sort(entries.begin(), entries.end(),
              [&](const Message* a, const Message* b) { return key_of(a) < key_of(b); });
    out_ += "\n";
    for (const Message* entry : entries) {
      Key(key_of(entry), indent);
      One(*entry, field->message_type()->map_value(), -1, indent + 2);
    }
  }

  void List(const Message& message, const FieldDescriptor* field, int indent) {
    out_ += "\n";
    for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
      const size_t dash = Dash(indent);
      One(message, field, i, indent + 2);
      Tighten(dash, indent + 2);
    }
  }

  // `index`: of a list; -1 for a single field.
  void One(const Message& message, const FieldDescriptor* field, int index, int indent) {
    const Reflection* r = message.GetReflection();
    const bool single = index < 0;
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Sub(
            single ? r->GetMessage(message, field) : r->GetRepeatedMessage(message, field, index),
            indent);
      case FieldDescriptor::CPPTYPE_ENUM:
        return Line(absl::AsciiStrToLower(
            (single ? r->GetEnum(message, field) : r->GetRepeatedEnum(message, field, index))
                ->name()));
      case FieldDescriptor::CPPTYPE_STRING:
        return Line(Scalar(single ? r->GetString(message, field)
                                  : r->GetRepeatedString(message, field, index)));
      case FieldDescriptor::CPPTYPE_BOOL:
        return Line(
            (single ? r->GetBool(message, field) : r->GetRepeatedBool(message, field, index))
                ? "true"
                : "false");
      case FieldDescriptor::CPPTYPE_INT32:
        return Line(absl::StrCat(single ? r->GetInt32(message, field)
                                        : r->GetRepeatedInt32(message, field, index)));
      case FieldDescriptor::CPPTYPE_INT64:
        return Line(absl::StrCat(single ? r->GetInt64(message, field)
                                        : r->GetRepeatedInt64(message, field, index)));
      case FieldDescriptor::CPPTYPE_UINT32:
        return Line(absl::StrCat(single ? r->GetUInt32(message, field)
                                        : r->GetRepeatedUInt32(message, field, index)));
      case FieldDescriptor::CPPTYPE_UINT64:
        return Line(absl::StrCat(single ? r->GetUInt64(message, field)
                                        : r->GetRepeatedUInt64(message, field, index)));
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Line(Number(single ? r->GetDouble(message, field)
                                  : r->GetRepeatedDouble(message, field, index)));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return Line(Number(static_cast<double>(
            single ? r->GetFloat(message, field) : r->GetRepeatedFloat(message, field, index))));
    }
  }

  void Sub(const Message& message, int indent) {
    const std::string& type = message.GetDescriptor()->full_name();
    const std::string& short_form = message.GetDescriptor()->options().GetExtension(v1::short_form);
    if (!short_form.empty()) {
      std::vector<const FieldDescriptor*> set;
      message.GetReflection()->ListFields(message, &set);
      if (set.size() == 1 && set.front()->name() == short_form) {
        return One(message, set.front(), -1, indent);
      }
    }
    if (type == "google.protobuf.Duration") {
      const auto& duration = static_cast<const google::protobuf::Duration&>(message);
      return Line(base::FormatDuration(absl::Seconds(duration.seconds()) +
                                       absl::Nanoseconds(duration.nanos())));
    }
    if (type == "google.protobuf.Value") {
      return Any(static_cast<const google::protobuf::Value&>(message), indent);
    }
    Fields(message, indent);
  }

  void Any(const google::protobuf::Value& value, int indent) {
    using google::protobuf::Value;
    switch (value.kind_case()) {
      case Value::kBoolValue:
        return Line(value.bool_value() ? "true" : "false");
      case Value::kNumberValue:
        return Line(Number(value.number_value()));
      case Value::kStringValue:
        return Line(Scalar(value.string_value()));
      case Value::kListValue:
        if (value.list_value().values().empty()) return Line("[]");
        out_ += "\n";
        for (const Value& item : value.list_value().values()) {
          const size_t dash = Dash(indent);
          Any(item, indent + 2);
          Tighten(dash, indent + 2);
        }
        return;
      case Value::kStructValue: {
        const auto& fields = value.struct_value().fields();
        if (fields.empty()) return Line("{}");
        out_ += "\n";
        std::vector<std::string> names;
        for (const auto& [name, unused] : fields) names.push_back(name);
        std::sort(names.begin(), names.end());
        for (const std::string& name : names) {
          Key(name, indent);
          Any(fields.at(name), indent + 2);
        }
        return;
      }
      default:
        return Line("null");
    }
  }

  std::string out_;
};

}  // namespace

std::string ToYaml(const Message& message) {
  Writer writer;
  writer.Fields(message, 0);
  const std::string text = writer.Take();
  // The first break belongs behind a key, of which the top has none.
  return std::string(absl::StripLeadingAsciiWhitespace(text));
}

}  // namespace keyturn::base

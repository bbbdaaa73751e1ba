// SPDX-License-Identifier: Apache-2.0
// A walk over a message by reflection.
#include "client/cli/message_json.h"

#include <google/protobuf/descriptor.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/duration_text.h"
#include "client/lib/messages.h"

namespace keyturn::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

std::string SecondsText(absl::Duration duration) {
  // Nine digits are what the message holds; none that say nothing are shown.
  return absl::StrCat(absl::ToDoubleSeconds(duration), "s");
}

Json EnumName(const google::protobuf::EnumValueDescriptor* value) {
  if (value->number() == 0) return nullptr;  // X_UNSPECIFIED
  return absl::AsciiStrToLower(value->name());
}

Json MessageValue(const Message& message) {
  if (const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    return FormatRfc3339(client::TimeOf(*time));
  }
  if (const auto* duration = dynamic_cast<const google::protobuf::Duration*>(&message)) {
    return SecondsText(client::DurationOf(*duration));
  }
  return ToJson(message);
}

// Element `index` of a repeated field, or the field itself when `index` is negative.
Json ValueOf(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* reflection = message.GetReflection();
  const bool repeated = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? reflection->GetRepeatedInt32(message, field, index)
                      : reflection->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? reflection->GetRepeatedInt64(message, field, index)
                      : reflection->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? reflection->GetRepeatedUInt32(message, field, index)
                      : reflection->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? reflection->GetRepeatedUInt64(message, field, index)
                      : reflection->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return repeated ? reflection->GetRepeatedDouble(message, field, index)
                      : reflection->GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return repeated ? reflection->GetRepeatedFloat(message, field, index)
                      : reflection->GetFloat(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? reflection->GetRepeatedBool(message, field, index)
                      : reflection->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(repeated ? reflection->GetRepeatedEnum(message, field, index)
                               : reflection->GetEnum(message, field));
    case FieldDescriptor::CPPTYPE_STRING:
      return repeated ? reflection->GetRepeatedString(message, field, index)
                      : reflection->GetString(message, field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (repeated) return MessageValue(reflection->GetRepeatedMessage(message, field, index));
      if (!reflection->HasField(message, field)) return nullptr;
      return MessageValue(reflection->GetMessage(message, field));
  }
  return nullptr;
}

}  // namespace

Json ToJson(const Message& message) {
  Json object = Json::object();
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (!field->is_repeated()) {
      object[field->name()] = ValueOf(message, field, -1);
      continue;
    }
    Json& list = object[field->name()] = Json::array();
    const int size = message.GetReflection()->FieldSize(message, field);
    for (int index = 0; index < size; ++index) list.push_back(ValueOf(message, field, index));
  }
  return object;
}

}  // namespace keyturn::cli

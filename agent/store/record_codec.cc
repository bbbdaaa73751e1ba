// SPDX-License-Identifier: Apache-2.0
// The outer half: which message a record is, its bytes, and the wiping. The fields of each message
// are in record_fields.cc.
#include "agent/store/record_codec.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "agent/store/record_fields.h"
#include "agent/store/row_key.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace keyturn::store {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Wipes the message when it goes out of scope, on every path.
template <class M>
class Wiped {
 public:
  ~Wiped() { WipeSecretFields(message_); }
  M& operator*() { return message_; }

 private:
  M message_;
};

base::Secret Serialize(const Message& message) {
  std::string bytes(message.ByteSizeLong(), '\0');
  google::protobuf::io::ArrayOutputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedOutputStream out(&stream);
  out.SetSerializationDeterministic(true);
  KEYTURN_CHECK(message.SerializeToCodedStream(&out), "a record is under 2 GiB");
  out.Trim();
  return base::Secret::Take(bytes);
}

template <class M, class R>
base::Secret Encode(const R& record) {
  Wiped<M> message;
  ToMessage(record, *message);
  return Serialize(*message);
}

template <class M>
absl::StatusOr<Record> Decode(const RowKey& key, absl::string_view bytes) {
  Wiped<M> message;
  if (!(*message).ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(absl::StrCat("is not a ", key.kind, " record"));
  }
  return FromMessage(key, *message);
}

struct EncodeVisitor {
  base::Secret operator()(const ProviderRecord& r) {
    return Encode<internal::v1::StoredProvider>(r);
  }
  base::Secret operator()(const PolicyRecord& r) { return Encode<internal::v1::StoredPolicy>(r); }
  base::Secret operator()(const CredentialRecord& r) {
    return Encode<internal::v1::StoredCredential>(r);
  }
  base::Secret operator()(const VersionRecord& r) { return Encode<internal::v1::StoredVersion>(r); }
  base::Secret operator()(const RotationRecord& r) {
    return Encode<internal::v1::StoredRotation>(r);
  }
  base::Secret operator()(const TagRecord& r) { return Encode<internal::v1::StoredTag>(r); }
  base::Secret operator()(const RefreshRecord& r) { return Encode<internal::v1::StoredRefresh>(r); }
  base::Secret operator()(const ConsumersRecord& r) {
    return Encode<internal::v1::StoredConsumers>(r);
  }
  base::Secret operator()(const HistoryRecord& r) { return Encode<internal::v1::StoredHistory>(r); }
};

void WipeString(const std::string& text) {
  // Reflection hands out no mutable string. These are owned by the message that is being wiped; an
  // empty one may be the default that all messages share.
  if (!text.empty()) base::Wipe(const_cast<std::string&>(text));
}

void WipeField(Message& message, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::string scratch;
  if (!field.is_repeated()) {
    WipeString(reflection.GetStringReference(message, &field, &scratch));
    return;
  }
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    WipeString(reflection.GetRepeatedStringReference(message, &field, i, &scratch));
  }
}

}  // namespace

void WipeSecretFields(Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> present;
  reflection.ListFields(message, &present);
  for (const FieldDescriptor* field : present) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      if (field->options().GetExtension(internal::v1::secret)) WipeField(message, *field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field->is_repeated()) {
      WipeSecretFields(*reflection.MutableMessage(&message, field));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        WipeSecretFields(*reflection.MutableRepeatedMessage(&message, field, i));
      }
    }
  }
}

base::Secret EncodeRecord(const Record& record) { return std::visit(EncodeVisitor(), record); }

absl::StatusOr<Record> DecodeRecord(absl::string_view key, absl::string_view bytes) {
  const std::optional<RowKey> parsed = ParseRowKey(key);
  if (!parsed.has_value()) return absl::DataLossError("is of no kind that this keyturnd knows");
  if (parsed->kind == kProviderKind) return Decode<internal::v1::StoredProvider>(*parsed, bytes);
  if (parsed->kind == kPolicyKind) return Decode<internal::v1::StoredPolicy>(*parsed, bytes);
  if (parsed->kind == kCredentialKind) {
    return Decode<internal::v1::StoredCredential>(*parsed, bytes);
  }
  if (parsed->kind == kVersionKind) return Decode<internal::v1::StoredVersion>(*parsed, bytes);
  if (parsed->kind == kRotationKind) return Decode<internal::v1::StoredRotation>(*parsed, bytes);
  if (parsed->kind == kTagKind) return Decode<internal::v1::StoredTag>(*parsed, bytes);
  if (parsed->kind == kRefreshKind) return Decode<internal::v1::StoredRefresh>(*parsed, bytes);
  if (parsed->kind == kConsumersKind) return Decode<internal::v1::StoredConsumers>(*parsed, bytes);
  return Decode<internal::v1::StoredHistory>(*parsed, bytes);
}

}  // namespace keyturn::store

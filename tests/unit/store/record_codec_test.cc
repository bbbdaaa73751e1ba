// SPDX-License-Identifier: Apache-2.0
// Every record survives encoding with every field, and leaves no secret behind.
#include "agent/store/record_codec.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "agent/store/row_key.h"
#include "keyturn/internal/v1/record.pb.h"
#include "tests/fakes/sample_records.h"

namespace keyturn::store {
namespace {

namespace pb = internal::v1;

std::unique_ptr<google::protobuf::Message> MessageOf(absl::string_view kind) {
  if (kind == kProviderKind) return std::make_unique<pb::StoredProvider>();
  if (kind == kPolicyKind) return std::make_unique<pb::StoredPolicy>();
  if (kind == kCredentialKind) return std::make_unique<pb::StoredCredential>();
  if (kind == kVersionKind) return std::make_unique<pb::StoredVersion>();
  if (kind == kRotationKind) return std::make_unique<pb::StoredRotation>();
  if (kind == kTagKind) return std::make_unique<pb::StoredTag>();
  if (kind == kConsumersKind) return std::make_unique<pb::StoredConsumers>();
  if (kind == kRefreshKind) return std::make_unique<pb::StoredRefresh>();
  return std::make_unique<pb::StoredHistory>();
}

// Every field of every message is in the bytes, and comes back from them into the same bytes: no
// field can be forgotten in either direction.
TEST(RecordCodecTest, NoFieldOfAnyRecordIsLost) {
  for (const Record& record : fakes::SampleRecords()) {
    const std::string key = KeyOf(record);
    const base::Secret bytes = EncodeRecord(record);

    auto message = MessageOf(ParseRowKey(key)->kind);
    ASSERT_TRUE(message->ParseFromString(std::string(bytes.Reveal())));
    std::vector<const google::protobuf::FieldDescriptor*> present;
    message->GetReflection()->ListFields(*message, &present);
    EXPECT_EQ(static_cast<int>(present.size()), message->GetDescriptor()->field_count()) << key;

    const auto decoded = DecodeRecord(key, bytes.Reveal());
    ASSERT_TRUE(decoded.ok()) << key << ": " << decoded.status();
    EXPECT_EQ(decoded->index(), record.index());
    EXPECT_EQ(KeyOf(*decoded), key);
    EXPECT_TRUE(EncodeRecord(*decoded) == bytes) << key;
  }
}

TEST(RecordCodecTest, AnEmptyRecordKeepsItsAbsentTimes) {
  VersionRecord version;
  version.credential = "a/b";
  version.number = 1;
  const auto decoded = DecodeRecord(VersionKey("a/b", 1), EncodeRecord(version).Reveal());
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto& back = std::get<VersionRecord>(*decoded);
  EXPECT_EQ(back.created_at, kNever);
  EXPECT_EQ(back.expires_at, kNever);
  EXPECT_TRUE(back.value.empty());
}

TEST(RecordCodecTest, ValuesAndTimesComeBackExactly) {
  VersionRecord version;
  version.credential = "a";
  version.number = 1;
  version.value = base::CredentialValue::Of(base::Secret(absl::string_view("a\0b\xff", 4)));
  version.created_at = absl::FromUnixSeconds(-5) + absl::Nanoseconds(7);
  version.expires_at = absl::InfiniteFuture();
  const auto decoded = DecodeRecord(VersionKey("a", 1), EncodeRecord(version).Reveal());
  ASSERT_TRUE(decoded.ok());
  const auto& back = std::get<VersionRecord>(*decoded);
  EXPECT_TRUE(back.value == version.value);
  EXPECT_EQ(back.created_at, version.created_at);
  EXPECT_EQ(back.expires_at, absl::InfiniteFuture());
}

TEST(RecordCodecTest, BytesThatNameAnotherRecordThanTheKeyAreDataLoss) {
  VersionRecord version;
  version.credential = "a";
  version.number = 1;
  const base::Secret bytes = EncodeRecord(version);
  for (const std::string& key : {VersionKey("a", 2), VersionKey("b", 1)}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeRecord(key, bytes.Reveal()).status())) << key;
  }
  RefreshRecord refresh;
  refresh.credential = "a";
  EXPECT_TRUE(
      absl::IsDataLoss(DecodeRecord(RefreshKey("b"), EncodeRecord(refresh).Reveal()).status()));
}

TEST(RecordCodecTest, ForeignKeysAndBytesAreDataLoss) {
  for (const char* key : {"", "/", "unknown/a", "version/a", "version/a/1", "tag/a", "rotation/",
                          "version//00000000000000000001", "history/a/99999999999999999999"}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeRecord(key, "").status())) << key;
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeRecord("credential/a", "\xff\xff\xff").status()));
  pb::StoredVersion later;
  later.set_credential("a");
  later.set_number(1);
  later.set_state(static_cast<pb::StoredVersionState>(77));
  EXPECT_TRUE(
      absl::IsDataLoss(DecodeRecord(VersionKey("a", 1), later.SerializeAsString()).status()));
}

TEST(RecordCodecTest, WipingReachesEverySecretAndNothingElse) {
  pb::StoredRotation rotation;
  rotation.set_id("kept");
  pb::StoredField& field = *rotation.add_new_fields();
  field.set_name("kept too");
  field.set_value("a secret long enough to live on the heap, not inside the string");
  // The buffer outlives the wiping, emptied and zeroed but not yet freed.
  const std::string* const value = &field.value();
  const char* const buffer = value->data();
  const size_t size = value->size();
  WipeSecretFields(rotation);
  EXPECT_EQ(std::string(buffer, size), std::string(size, '\0'));
  EXPECT_EQ(rotation.id(), "kept");
  EXPECT_EQ(field.name(), "kept too");
  EXPECT_TRUE(field.value().empty());
}

TEST(RowKeyTest, EveryKeyIsReadBackAndNumbersSortAsNumbers) {
  for (const Record& record : fakes::SampleRecords()) {
    EXPECT_TRUE(ParseRowKey(KeyOf(record)).has_value()) << KeyOf(record);
  }
  const std::string version_key = VersionKey("a/b/c", 42), tag_key = TagKey("a/b", "t");
  const auto version = ParseRowKey(version_key);
  ASSERT_TRUE(version.has_value());
  EXPECT_EQ(version->name, "a/b/c");
  EXPECT_EQ(version->number, 42u);
  EXPECT_LT(VersionKey("a", 9), VersionKey("a", 10));
  const auto tag = ParseRowKey(tag_key);
  ASSERT_TRUE(tag.has_value());
  EXPECT_EQ(tag->name, "a/b");
  EXPECT_EQ(tag->tag, "t");
  EXPECT_FALSE(ParseRowKey(kHeaderKey).has_value());
  EXPECT_FALSE(ParseRowKey(kAgentKey).has_value());
}

}  // namespace
}  // namespace keyturn::store

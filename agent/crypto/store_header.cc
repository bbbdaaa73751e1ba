// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/store_header.h"

#include "absl/strings/str_cat.h"
#include "agent/crypto/byte_layout.h"

namespace keyturn::crypto {
namespace {

constexpr absl::string_view kMagic = "KEYTURN\n";

enum SectionType : uint16_t { kUuid = 1, kStanza = 2, kDataKey = 3 };

void AppendSection(std::string& out, SectionType type, absl::string_view payload) {
  AppendUint16(out, type);
  AppendFramed(out, payload);
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the store's header is damaged: ", what));
}

absl::Status Later(absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("the store's header has ", what,
                   ", which a later keyturnd wrote; use that version or a later one"));
}

absl::Status ParseStanza(absl::string_view payload, StoreHeader& header) {
  LayoutReader reader(payload);
  absl::string_view kind, parameters, wrapped;
  if (!reader.FramedBytes(kind) || !reader.FramedBytes(parameters) ||
      !reader.FramedBytes(wrapped) || !reader.rest().empty()) {
    return Damaged("a stanza has the wrong length");
  }
  header.stanzas.push_back({std::string(kind), std::string(parameters), std::string(wrapped)});
  return absl::OkStatus();
}

absl::Status ParseDataKey(absl::string_view payload, StoreHeader& header) {
  LayoutReader reader(payload);
  SealedDataKey key;
  if (!reader.Uint32(key.id)) return Damaged("a data key has the wrong length");
  key.sealed = std::string(reader.rest());
  for (const SealedDataKey& other : header.data_keys) {
    if (other.id >= key.id) return Damaged("data keys are out of order");
  }
  header.data_keys.push_back(std::move(key));
  return absl::OkStatus();
}

absl::Status ParseSection(uint16_t type, absl::string_view payload, StoreHeader& header) {
  switch (type) {
    case kUuid:
      if (!header.uuid.empty() || payload.size() != kUuidSize) return Damaged("its database id");
      header.uuid = std::string(payload);
      return absl::OkStatus();
    case kStanza:
      return ParseStanza(payload, header);
    case kDataKey:
      return ParseDataKey(payload, header);
    default:
      return Later(absl::StrCat("a section of type ", type));
  }
}

}  // namespace

std::string EncodeHeader(const StoreHeader& header) {
  std::string out(kMagic);
  AppendUint16(out, kHeaderFormat);
  AppendSection(out, kUuid, header.uuid);
  for (const Stanza& stanza : header.stanzas) {
    AppendSection(out, kStanza, Framed({stanza.kind, stanza.parameters, stanza.wrapped_master}));
  }
  for (const SealedDataKey& key : header.data_keys) {
    std::string payload;
    AppendUint32(payload, key.id);
    payload += key.sealed;
    AppendSection(out, kDataKey, payload);
  }
  return out;
}

absl::StatusOr<ParsedHeader> ParseHeader(absl::string_view bytes) {
  if (bytes.size() > kHeaderSizeMax) return Damaged("it is too long");
  if (bytes.substr(0, kMagic.size()) != kMagic) return Damaged("it does not begin as one");
  LayoutReader reader(bytes.substr(kMagic.size()));
  uint16_t format = 0;
  if (!reader.Uint16(format)) return Damaged("it is cut short");
  if (format > kHeaderFormat) return Later(absl::StrCat("format ", format));
  if (format == 0) return Damaged("it has no format number");
  if (reader.rest().size() < kHeaderCodeSize) return Damaged("it is cut short");

  ParsedHeader parsed;
  parsed.covered = bytes.substr(0, bytes.size() - kHeaderCodeSize);
  parsed.code = bytes.substr(bytes.size() - kHeaderCodeSize);
  while (reader.rest().size() > kHeaderCodeSize) {
    uint16_t type = 0;
    absl::string_view payload;
    if (!reader.Uint16(type) || !reader.FramedBytes(payload) ||
        reader.rest().size() < kHeaderCodeSize) {
      return Damaged("a section does not end within it");
    }
    if (absl::Status s = ParseSection(type, payload, parsed.header); !s.ok()) return s;
  }
  if (parsed.header.uuid.empty()) return Damaged("its database id is missing");
  if (parsed.header.stanzas.empty()) return Damaged("it holds no stanza");
  if (parsed.header.data_keys.empty()) return Damaged("it holds no data key");
  return parsed;
}

}  // namespace keyturn::crypto

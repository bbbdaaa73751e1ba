// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/keyring.h"

#include <sodium.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/crypto/aead.h"
#include "agent/crypto/byte_layout.h"

namespace keyturn::crypto {
namespace {

constexpr char kRowVersion = 1;
// A stanza for any source that brings the 32 bytes of a KEK as they are.
constexpr absl::string_view kPlainKek = "kek";

std::string Uint32(uint32_t value) {
  std::string out;
  AppendUint32(out, value);
  return out;
}

std::string StanzaData(absl::string_view uuid, const Stanza& stanza) {
  return Framed({"keyturn/stanza/1", uuid, stanza.kind, stanza.parameters});
}

std::string DataKeyData(absl::string_view uuid, uint32_t id) {
  return Framed({"keyturn/data-key/1", uuid, Uint32(id)});
}

std::string HeaderCode(const LockedKey& master, absl::string_view covered) {
  const LockedKey key = master.Derive(Subkey::kHeader);
  std::string code(kHeaderCodeSize, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(code.data()), code.size(),
                     reinterpret_cast<const unsigned char*>(covered.data()), covered.size(),
                     key.data(), LockedKey::kSize);
  return code;
}

absl::StatusOr<LockedKey> LoadKek(KekSource& source) {
  absl::StatusOr<base::Secret> kek = source.Load();
  if (!kek.ok()) return kek.status();
  if (kek->size() != LockedKey::kSize) {
    return absl::InternalError(
        absl::StrCat(source.Describe(), " gave ", kek->size(), " bytes instead of 32"));
  }
  return LockedKey(kek->Reveal());
}

absl::StatusOr<LockedKey> OpenMaster(const StoreHeader& header, KekSource& source) {
  absl::StatusOr<LockedKey> kek = LoadKek(source);
  if (!kek.ok()) return kek.status();
  for (const Stanza& stanza : header.stanzas) {
    if (stanza.kind != kPlainKek) continue;
    const absl::StatusOr<base::Secret> master =
        OpenBox(*kek, stanza.wrapped_master, StanzaData(header.uuid, stanza));
    if (master.ok() && master->size() == LockedKey::kSize) return LockedKey(master->Reveal());
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the ", source.Describe(),
                   " does not belong to this store: it does not open the store's header; name the "
                   "one the store was made with, or restore both from the same backup"));
}

}  // namespace

Keyring::Keyring(const LockedKey& master, std::string uuid, base::Random& random)
    : uuid_(std::move(uuid)),
      keyed_hash_(master.Derive(Subkey::kHash)),
      manifest_hash_(master.Derive(Subkey::kManifest)),
      backup_key_(master.Derive(Subkey::kBackup)),
      random_(random) {}

absl::StatusOr<std::unique_ptr<Keyring>> Keyring::Create(KekSource& kek_source,
                                                         base::Random& random) {
  const absl::StatusOr<LockedKey> kek = LoadKek(kek_source);
  if (!kek.ok()) return kek.status();
  const LockedKey master = LockedKey::Generate(random);
  const LockedKey keyring_key = master.Derive(Subkey::kKeyring);
  LockedKey data_key = LockedKey::Generate(random);

  StoreHeader header;
  header.uuid = random.Bytes(kUuidSize);
  Stanza stanza;
  stanza.kind = std::string(kPlainKek);
  stanza.wrapped_master = SealBox(*kek, master.bytes(), StanzaData(header.uuid, stanza), random);
  header.stanzas.push_back(std::move(stanza));
  header.data_keys.push_back(
      {1, SealBox(keyring_key, data_key.bytes(), DataKeyData(header.uuid, 1), random)});

  auto keyring = std::unique_ptr<Keyring>(new Keyring(master, header.uuid, random));
  keyring->header_ = EncodeHeader(header);
  keyring->header_ += HeaderCode(master, keyring->header_);
  keyring->data_keys_.emplace(1, std::move(data_key));
  return keyring;
}

absl::StatusOr<std::unique_ptr<Keyring>> Keyring::Open(absl::string_view header,
                                                       KekSource& kek_source,
                                                       base::Random& random) {
  const absl::StatusOr<ParsedHeader> parsed = ParseHeader(header);
  if (!parsed.ok()) return parsed.status();
  const absl::StatusOr<LockedKey> master = OpenMaster(parsed->header, kek_source);
  if (!master.ok()) return master.status();
  const std::string code = HeaderCode(*master, parsed->covered);
  if (sodium_memcmp(code.data(), parsed->code.data(), kHeaderCodeSize) != 0) {
    return absl::DataLossError(
        "the store's header has been changed: its authentication code is wrong; restore the store "
        "from a backup");
  }
  auto keyring = std::unique_ptr<Keyring>(new Keyring(*master, parsed->header.uuid, random));
  keyring->header_ = std::string(header);
  if (absl::Status s = keyring->OpenDataKeys(master->Derive(Subkey::kKeyring), parsed->header);
      !s.ok()) {
    return s;
  }
  return keyring;
}

absl::Status Keyring::OpenDataKeys(const LockedKey& keyring_key, const StoreHeader& header) {
  for (const SealedDataKey& sealed : header.data_keys) {
    const absl::StatusOr<base::Secret> key =
        OpenBox(keyring_key, sealed.sealed, DataKeyData(header.uuid, sealed.id));
    if (!key.ok() || key->size() != LockedKey::kSize) {
      return absl::DataLossError(
          absl::StrCat("data key ", sealed.id, " in the store's header does not open"));
    }
    data_keys_.emplace(sealed.id, LockedKey(key->Reveal()));
  }
  return absl::OkStatus();
}

std::string Keyring::RowData(uint32_t data_key, absl::string_view associated_data) const {
  return Framed({"keyturn/row/1", uuid_, Uint32(data_key), associated_data});
}

std::string Keyring::Seal(absl::string_view plaintext, absl::string_view associated_data) const {
  const auto& [id, key] = *data_keys_.rbegin();
  std::string row(1, kRowVersion);
  AppendUint32(row, id);
  row += SealBox(key, plaintext, RowData(id, associated_data), random_);
  return row;
}

absl::StatusOr<base::Secret> Keyring::Open(absl::string_view sealed,
                                           absl::string_view associated_data) const {
  LayoutReader reader(sealed);
  uint8_t version = 0;
  uint32_t id = 0;
  if (!reader.Uint8(version) || !reader.Uint32(id)) return absl::DataLossError("is cut short");
  if (version != kRowVersion) {
    return absl::DataLossError(absl::StrCat("has unknown format ", version));
  }
  const auto key = data_keys_.find(id);
  if (key == data_keys_.end()) {
    return absl::DataLossError(absl::StrCat("is sealed under data key ", id, ", which is unknown"));
  }
  return OpenBox(key->second, reader.rest(), RowData(id, associated_data));
}

}  // namespace keyturn::crypto

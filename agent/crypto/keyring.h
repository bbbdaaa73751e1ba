// SPDX-License-Identifier: Apache-2.0
// Keyring: the envelope around a store. A KEK unwraps the master, subkeys of the master unwrap the
// data keys and authenticate the header, the newest data key seals rows and every data key opens
// those it has sealed (docs/formats/store.md). Immutable after Create or Open and thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/random.h"
#include "agent/crypto/kek_source.h"
#include "agent/crypto/keyed_hash.h"
#include "agent/crypto/locked_key.h"
#include "agent/crypto/sealer.h"
#include "agent/crypto/store_header.h"

namespace keyturn::crypto {

class Keyring final : public Sealer {
 public:
  // A new master and data key, wrapped for this KEK. Keep header() before sealing anything with it.
  static absl::StatusOr<std::unique_ptr<Keyring>> Create(KekSource& kek, base::Random& random);

  // FAILED_PRECONDITION when the KEK opens no stanza, DATA_LOSS when the header has been changed;
  // else what the source says. `random`, which makes nonces, must outlive this.
  static absl::StatusOr<std::unique_ptr<Keyring>> Open(absl::string_view header, KekSource& kek,
                                                       base::Random& random);

  std::string Seal(absl::string_view plaintext, absl::string_view associated_data) const override;
  absl::StatusOr<base::Secret> Open(absl::string_view sealed,
                                    absl::string_view associated_data) const override;

  // The bytes that Open takes. Nothing in them is secret.
  const std::string& header() const { return header_; }
  const KeyedHash& keyed_hash() const { return keyed_hash_; }
  // Opens and seals backups of this store.
  const LockedKey& BackupKey() const { return backup_key_; }
  // For manifests alone.
  const KeyedHash& manifest_hash() const { return manifest_hash_; }

 private:
  Keyring(const LockedKey& master, std::string uuid, base::Random& random);

  std::string RowData(uint32_t data_key, absl::string_view associated_data) const;
  absl::Status OpenDataKeys(const LockedKey& keyring_key, const StoreHeader& header);

  const std::string uuid_;
  const KeyedHash keyed_hash_;
  const KeyedHash manifest_hash_;
  const LockedKey backup_key_;
  base::Random& random_;
  std::string header_;
  std::map<uint32_t, LockedKey> data_keys_;  // the newest has the highest id
};

}  // namespace keyturn::crypto

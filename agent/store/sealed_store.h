// SPDX-License-Identifier: Apache-2.0
// SealedStore: the Store over any Backend. Each record is sealed whole and tied to its key and
// kind, so a row that was changed, moved or renamed does not open; the backend sees keys and
// ciphertext only (docs/formats/store.md). Guards every row by the revision this object knows, so a
// second writer is found out. Every commit also writes what rows there are, so that one that is
// gone or older than it should be is found out as well. Used from one thread at a time; calls block
// on the backend.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "agent/base/random.h"
#include "agent/crypto/kek_source.h"
#include "agent/crypto/keyed_hash.h"
#include "agent/crypto/keyring.h"
#include "agent/store/anchor.h"
#include "agent/store/backend.h"
#include "agent/store/manifest.h"
#include "agent/store/store.h"

namespace keyturn::store {

class SealedStore final : public Store {
 public:
  // Whether nothing was ever stored in this backend; Open would make a new store of it.
  static absl::StatusOr<bool> IsNew(Backend& backend);

  // Opens the store, or makes a new one in an empty backend: header, data key and agent id in one
  // commit. `agent_name`, when not empty, is the agent id of a new store; FAILED_PRECONDITION when
  // an old one has another. Errors of the KEK source and of Keyring::Open come through.
  // backend and random must outlive this; kek is asked once, for a new store twice.
  // `anchor`, when not null, must outlive this as well; without one an older copy is not noticed.
  static absl::StatusOr<std::unique_ptr<SealedStore>> Open(Backend& backend, crypto::KekSource& kek,
                                                           base::Random& random,
                                                           absl::string_view agent_name = {},
                                                           Anchor* anchor = nullptr);

  // What Open found out by the manifest and the anchor: DATA_LOSS (STORE_ALTERED) when rows are
  // missing, too many or replaced, FAILED_PRECONDITION (ROLLBACK_DETECTED) when the whole is an
  // older copy. Nothing is loaded before Accept then.
  absl::Status CheckIntegrity() const;
  // Takes the rows that are here for the store. They count as rolled back until DropAnchor.
  absl::Status Accept();

  absl::StatusOr<std::vector<Record>> LoadAll() override;
  absl::Status Commit(const Transaction& transaction) override;
  const std::string& agent_id() const override { return agent_id_; }
  absl::Status DropAnchor() override;
  bool rolled_back() const override { return rolled_back_; }

  // Of the last commit, growing by one with each.
  uint64_t epoch() const { return epoch_; }
  // The whole store as it is now (agent/store/backup.h).
  absl::StatusOr<std::vector<std::string>> Backup() override;

  // For hashes that the journal keeps of secrets. Lives as long as this.
  const crypto::KeyedHash& keyed_hash() const { return keyring_->keyed_hash(); }

 private:
  struct Batch {
    std::vector<Guard> guards;
    std::vector<Write> writes;
  };

  SealedStore(Backend& backend, std::unique_ptr<crypto::Keyring> keyring, std::string agent_id,
              Anchor* anchor)
      : backend_(backend),
        keyring_(std::move(keyring)),
        agent_id_(std::move(agent_id)),
        anchor_(anchor),
        manifest_(keyring_->manifest_hash()) {}

  absl::Status Survey();
  absl::Status Survey(const std::vector<Entry>& entries);
  // The first row that does not open, for people; empty when all do.
  std::string BrokenRow(const std::vector<Entry>& entries) const;
  void CompareWithAnchor();
  // What the anchor holds of this manifest.
  std::string AnchorText(uint64_t epoch, absl::string_view manifest_code) const;

  absl::StatusOr<Batch> MakeBatch(const Transaction& transaction) const;
  // With the manifest of what comes out of it.
  absl::Status CommitBatch(Batch batch, uint64_t epoch);
  Revision RevisionOf(const std::string& key) const;
  // Whether this batch is in the backend, after a commit that could not say.
  absl::StatusOr<Revision> ReadBack(const Batch& batch, const absl::Status& why);
  void Remember(const Batch& batch, Revision revision);

  Backend& backend_;
  const std::unique_ptr<crypto::Keyring> keyring_;
  const std::string agent_id_;
  Anchor* const anchor_;
  Manifest manifest_;
  // Of the manifest that is stored.
  uint64_t epoch_ = 0;
  std::string manifest_code_;
  // What the anchor said at the start.
  uint64_t noted_ = 0;
  absl::flat_hash_map<std::string, Revision> revisions_;
  // Set when what is on the disk is no longer known.
  bool in_doubt_ = false;
  bool rolled_back_ = false;
  std::string altered_;  // how; empty: not
  bool accepted_ = false;
};

}  // namespace keyturn::store

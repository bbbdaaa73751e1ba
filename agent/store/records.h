// SPDX-License-Identifier: Apache-2.0
// The records Keyturn keeps, as plain values. What they mean is docs/ROTATION.md; how they lie on
// disk is docs/formats/store.md. Absent times are absl::InfinitePast().
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/secret.h"
#include "agent/base/value.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::store {

inline constexpr absl::Time kNever = absl::InfinitePast();

struct ProviderRecord {
  std::string name;
  v1::ProviderSpec spec;
};

struct PolicyRecord {
  std::string name;
  v1::PolicySpec spec;
};

struct CredentialRecord {
  std::string name;
  v1::CredentialSpec spec;
  uint64_t current_version = 0;   // 0: none yet
  uint64_t retiring_version = 0;  // 0: none
  uint64_t last_version = 0;      // the highest number ever given
  uint64_t rotation_counter = 0;  // rotations begun
  absl::Time last_rotated = kNever;
  absl::Time next_due = kNever;
  uint32_t consecutive_failures = 0;
  std::string failure_code;  // open failure, empty: none
  std::string failure_detail;
  absl::Time failure_since = kNever;
  // Keys at the provider that a person has declared not to be Keyturn's.
  std::vector<std::string> disowned_key_ids;

  // After a success.
  void ClearFailure() {
    consecutive_failures = 0;
    failure_code.clear();
    failure_detail.clear();
    failure_since = kNever;
  }
};

enum class VersionState { kPending, kCurrent, kRetiring, kRevoked, kFailed };
const char* VersionStateName(VersionState state);

struct VersionRecord {
  std::string credential;
  uint64_t number = 0;
  VersionState state = VersionState::kPending;
  base::CredentialValue value;  // erased (empty) once revoked or failed
  std::string provider_key_id;
  absl::Time created_at = kNever;
  absl::Time requested_at = kNever;  // when the request that brought it was sent
  base::BootStamp requested_boot;    // the same moment
  absl::Time promoted_at = kNever;
  absl::Time expires_at = kNever;  // kNever: does not expire by itself
  absl::Time grace_until = kNever;
  absl::Time ended_at = kNever;
};

// The journal row of the open rotation.
struct RotationRecord {
  std::string id;
  std::string credential;
  std::string state;
  uint32_t attempt = 0;
  uint64_t fence = 0;
  std::string tag;
  std::vector<std::string> seen_before;
  std::string new_key_id;
  base::CredentialValue new_value;
  absl::Time new_expires_at = kNever;
  std::string old_key_id;
  uint64_t old_version = 0;
  uint64_t new_version = 0;
  absl::Time started_at = kNever;
  absl::Time sent_at = kNever;
  absl::Time settle_until = kNever;
  absl::Time verify_until = kNever;
  absl::Time grace_until = kNever;
  absl::Time dead_by = kNever;
  std::vector<std::string> abort_ids;
  std::string last_error;
  uint32_t clean_lists = 0;
  uint32_t step_failures = 0;
  absl::Time grace_max = kNever;  // kNever: the grace ends at grace_until
  uint32_t creates = 0;           // create calls sent for this row
  std::string target;             // the slot or key that create replaces in place
  base::Secret target_before;     // what the slot held before
};

// A tag that went to a provider and whose attempt is closed; the sweep deletes keys that carry it.
struct TagRecord {
  std::string credential;
  std::string tag;
  absl::Time keep_until = kNever;
};

struct RefreshRecord {
  std::string credential;
  base::Secret refresh_token;
  absl::Time refresh_token_since = kNever;
  absl::Time refresh_token_expires_at = kNever;
  // The first use of the refresh token of those whose outcome is not known.
  absl::Time inflight_since = kNever;
  base::BootStamp inflight_boot;  // the same moment
  bool in_doubt = false;
  bool needs_consent = false;
  absl::Time consented_at = kNever;
  absl::Time last_used_at = kNever;
  // PEM; empty unless tokens are bound to a key (RFC 9449).
  base::Secret dpop_key;
  // An older copy of the store was put back, and nobody has said yet that this may be used.
  bool restored = false;

  // The outcome of all uses is known.
  void EndFlight() {
    inflight_since = kNever;
    inflight_boot = {};
    in_doubt = false;
    restored = false;
  }
};

// Who was given which version of a credential.
struct ConsumersRecord {
  struct Consumer {
    std::string principal;
    uint64_t version = 0;            // the newest one given
    absl::Time since = kNever;       // when that one was given first
    absl::Time last_given = kNever;  // and last
    uint64_t acknowledged = 0;       // 0: none yet
  };
  std::string credential;
  std::vector<Consumer> consumers;
};

struct HistoryRecord {
  std::string credential;
  uint64_t sequence = 0;
  absl::Time at = kNever;
  absl::Time started_at = kNever;
  std::string what;
  std::string outcome;
  uint64_t version = 0;
  std::string detail;
};

}  // namespace keyturn::store

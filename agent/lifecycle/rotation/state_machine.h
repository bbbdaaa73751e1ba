// SPDX-License-Identifier: Apache-2.0
// The rotation of an API key as a pure function: (journal row, event, facts) -> (row, effect). No
// clock, no I/O, no randomness: whatever it needs of the world is in Facts. The transition table is
// docs/ROTATION.md; tests/model explores this very function exhaustively.
//
// The caller (engine.h) commits the row and the version change of a step in one transaction before
// it performs the step's effect; and performs one effect at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/observe/failures.h"
#include "agent/providers/provider.h"
#include "agent/store/records.h"

namespace keyturn::lifecycle::rotation {

enum class State {
  kChecking,   // in memory only: listing before anything is begun
  kSweeping,   // deleting orphans of closed attempts
  kCreating,   // create was or is being sent
  kReconcile,  // its outcome is unknown: wait, then list
  kMinted,     // the new key is stored, being verified
  kVerified,   // the new key works
  kRetiring,   // the new key is handed out, the old one is in its grace
  kRevoking,   // the old key is being deleted
  kDying,      // deleted, and the provider may still accept it for a while
  kAborting,   // keys of a failed attempt are being deleted
  kOperator,   // a key that may be ours cannot be told apart: a person must look
  kProving,    // the new key has taken the old one's place, being verified
};
absl::string_view StateName(State state);
// KEYTURN_CHECK fails for a name that StateName never gives: the store is sealed, so nobody else
// wrote it.
State ParseState(absl::string_view name);

struct Facts {
  absl::Time now;
  providers::Traits traits;
  // All keys the provider lists belong to this credential.
  bool exclusive = false;
  // Consumers may be without a working key for a moment.
  bool allow_gap = false;
  // A person says that no key of unknown origin is ours.
  bool disown = false;
  // Look for orphans, begin nothing.
  bool sweep_only = false;
  // Keys that some credential accounts for.
  std::set<std::string> known_ids;
  // Keys of versions of this credential that have ended: ours, and not to be alive.
  std::set<std::string> our_ids;
  // Keys of living versions so young that a list which lags need not show them yet.
  std::set<std::string> young_ids;
  // Keys that a person has declared not to be ours.
  std::set<std::string> disowned_ids;
  // Tags of this credential's attempts, open or closed.
  std::set<std::string> our_tags;
  // The value of the current version, to find its id in lists that show secrets. May be empty.
  base::CredentialValue current_value;
  // The value of the row's old version; empty once it has ended.
  base::CredentialValue old_value;
  // A random secret that nothing else has, for class chosen.
  base::Secret fresh_secret;
  absl::Duration grace = absl::ZeroDuration();
  // Whether the grace is over by every clock the agent has.
  bool grace_over = false;
  // Whether some consumer still uses the old version, and the credential waits for that. And
  // whether it has waited as long as it may.
  bool consumers_hold = false;
  bool grace_max_over = false;
  // The longest grace; infinite: `grace` is all there is.
  absl::Duration grace_max = absl::InfiniteDuration();
  // How long to wait should this step fail.
  absl::Duration retry_wait = absl::Seconds(1);
};

struct CreateReplied {
  providers::CallResult result;
  std::optional<providers::MintedKey> key;
};
struct ListReplied {
  providers::CallResult result;
  std::vector<providers::ListedKey> keys;
};
struct VerifyReplied {
  providers::CallResult result;
};
struct RevokeReplied {
  providers::CallResult result;
};
// What Wait waited for has come.
struct Due {};
// The agent has started and found this row.
struct Restarted {};
// A person wants the retiring version back.
struct Undone {};
// A person has brought the value that the row, in kChecking, holds as the new one.
struct Brought {};
using Event = std::variant<CreateReplied, ListReplied, VerifyReplied, RevokeReplied, Due, Restarted,
                           Undone, Brought>;

enum class Ending {
  kDone,            // the old key is gone (or there was none)
  kSwept,           // a sweep found all in order
  kRefused,         // definite refusal, nothing was made
  kBlocked,         // the provider's limit leaves no room
  kUnavailable,     // definitely nothing was made, worth another try
  kNothingCreated,  // the outcome was unknown, and nothing came of it
  kAborted,         // keys of the attempt are deleted
  kUnproven,        // the new key took the old one's place, and the provider rejects it
  kLost,            // the old key is dead, and nobody knows the one that replaced it
};
absl::string_view EndingName(Ending ending);

struct CallCreate {};
struct CallList {};
struct CallVerifyNew {};
struct CallVerifyOld {};
struct CallRevoke {
  std::string key_id;
};
// Then Due.
struct Wait {
  absl::Time until;
};
// Go on at once, with Due: the step was only for the journal.
struct Proceed {};
// The row is deleted.
struct Close {
  Ending ending = Ending::kDone;
  std::string cause;
  int http_status = 0;
  absl::Duration retry_after = absl::ZeroDuration();
  // Keys that are left alone from now on, because a person said so.
  std::vector<std::string> disowned;
};
using Effect = std::variant<CallCreate, CallList, CallVerifyNew, CallVerifyOld, CallRevoke, Wait,
                            Proceed, Close>;

// What becomes of the versions, in the same transaction as the row.
enum class VersionChange {
  kNone,
  kMint,         // the new one exists: pending
  kPromote,      // new -> current, old -> retiring
  kDropNew,      // new -> failed, its value erased
  kRevokeOld,    // old -> revoked, its value erased
  kReplace,      // the new one exists and is current, old -> revoked in the same moment
  kSwap,         // retiring and current change places; the row has changed them already
  kLoseCurrent,  // current -> failed, its value erased: nothing can be handed out
};

struct Alert {
  observe::FailureCode code;
  std::string cause;
  int http_status = 0;
  std::string detail;
};

struct Step {
  store::RotationRecord record;
  // The row differs from what is stored: commit before the effect.
  bool journal = false;
  VersionChange version = VersionChange::kNone;
  Effect effect = Proceed{};
  std::optional<Alert> alert;
  std::vector<observe::FailureCode> resolved;
};

// `record.state` decides which events make sense; one that does not (a late reply to a call of an
// earlier state) leaves the row and asks to proceed.
Step Advance(store::RotationRecord record, const Event& event, const Facts& facts);

// A row for a new attempt, in kChecking.
store::RotationRecord NewAttempt(std::string id, std::string credential, uint32_t attempt,
                                 absl::string_view agent_id, uint32_t tag_max_length);

}  // namespace keyturn::lifecycle::rotation

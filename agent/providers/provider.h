// SPDX-License-Identifier: Apache-2.0
// Provider: the calls a rotation makes at one service. Every call has one of five outcomes, of
// which kUnknown is the one that must never be folded into failure: the effect may be there, or may
// still come. Thread-safe; calls return at once and answer through `done`, exactly once, on any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/base/value.h"

namespace keyturn::providers {

// docs/ROTATION.md explains the classes.
enum class ProviderClass {
  kTagged,    // create takes a name that we choose; the secret is returned once
  kUntagged,  // no name; the secret is returned once
  kListed,    // the list returns the secrets themselves
  kChosen,    // we choose the secret
  kDualSlot,  // two slots, each of which can be regenerated
  kRoll,      // replaced in place by a manager credential; the old one dies at once
  kSelfRoll,  // replaced by itself; the old one dies at once
  kManual,    // a person brings the new value
};
// `tagged`, `dual_slot`, ...; as recipes, logs and docs spell it.
const char* ProviderClassName(ProviderClass provider_class);

enum class Outcome {
  kOk,
  kRejected,   // definitely no effect; for Verify: the key is dead
  kLimited,    // definitely no effect: the service's limit of keys is reached
  kTransient,  // definitely no effect now; worth another try
  kUnknown,    // may have had an effect, or may still have one
};

// Facts about the provider that rotation decides by.
struct Traits {
  ProviderClass provider_class = ProviderClass::kUntagged;
  // Most keys the service lets us hold; 0: no limit known.
  uint32_t key_limit = 0;
  // How long a new key may need until it works everywhere.
  absl::Duration propagation = absl::Seconds(10);
  // How long after a request with unknown outcome its effect may still appear.
  absl::Duration settle = absl::Seconds(30);
  // How long the service may go on accepting a deleted key; zero: dies at once.
  absl::Duration cached_for = absl::ZeroDuration();
  // Whether Verify exists. Without it a new key is taken as good and death is read off the list.
  bool can_verify = true;
  // Whether List exists. Always for tagged, untagged unless keys expire by themselves, listed and
  // dual_slot. Elsewhere the death of a key is read off Verify, or off Revoke's answer.
  bool can_list = true;
  // Whether Revoke exists; class manual may lack it, roll and self_roll do not need it.
  bool can_revoke = true;
  // Class untagged without List: keys whose create got no reply die by themselves after this long.
  // Zero: they do not.
  absl::Duration expires_by_itself = absl::ZeroDuration();
  // Class dual_slot: the ids of the two slots.
  std::vector<std::string> slots;
  // Class chosen: how long a secret Keyturn chooses, of letters and digits.
  uint32_t secret_length = 43;
  // What a value that a person brings must look like; zero and empty: anything.
  std::string value_prefix;
  uint32_t value_min_length = 0;
  uint32_t value_max_length = 0;
  uint32_t tag_max_length = 64;
  // How consumers attach the key.
  std::string attach_header;
  std::string attach_format;
};

struct CallResult {
  Outcome outcome = Outcome::kUnknown;
  // For logs and people, from our own fixed vocabulary: `timeout`, `http_429`, `unreadable_reply`.
  std::string cause;
  int http_status = 0;  // 0: no reply
  // From Retry-After; zero when the service said nothing.
  absl::Duration retry_after = absl::ZeroDuration();
};

struct MintedKey {
  std::string id;
  base::CredentialValue value;
  std::optional<absl::Time> expires_at;
};

struct ListedKey {
  std::string id;
  // What the service shows of the tag; empty when it takes none.
  std::string tag;
  // The key itself, for classes listed and dual_slot.
  base::CredentialValue value;
  // The key is listed but does not work any more: counted neither as alive nor against the limit.
  bool dead = false;
};

// What Create is asked for. Only what the class calls for is set.
struct NewKey {
  // Class tagged: at most traits().tag_max_length long and of `a-z 0-9 -`. Others may show it.
  std::string tag;
  // Class chosen: the secret. Asking again with the same one must lead to the same key.
  base::Secret secret;
  // dual_slot: the slot to regenerate. roll: the id of the key to replace. chosen: the id of the
  // key in use, which must stay as it is.
  std::string target;
  // Class self_roll: the value that replaces itself.
  base::CredentialValue current;
};

class Provider {
 public:
  // Set when the outcome is kOk.
  using CreateDone = absl::AnyInvocable<void(CallResult, std::optional<MintedKey>)>;
  using ListDone = absl::AnyInvocable<void(CallResult, std::vector<ListedKey>)>;
  using Done = absl::AnyInvocable<void(CallResult)>;

  virtual ~Provider() = default;
  virtual const Traits& traits() const = 0;

  // `manager` is the value of the manager credential at this moment; empty when the provider names
  // none.
  virtual void Create(const base::CredentialValue& manager, const NewKey& key, CreateDone done) = 0;
  // All keys, over all pages; kOk only if the list is complete.
  virtual void List(const base::CredentialValue& manager, ListDone done) = 0;
  // kOk: the key works. kRejected: it does not. All else says nothing about the key.
  virtual void Verify(const base::CredentialValue& key, Done done) = 0;
  // kOk also when the key was gone already. Class dual_slot: regenerates the slot and forgets the
  // value. `value` is the key itself, where it is still known: some services take it instead of an
  // id.
  virtual void Revoke(const base::CredentialValue& manager, const std::string& key_id,
                      const base::CredentialValue& value, Done done) = 0;
};

}  // namespace keyturn::providers

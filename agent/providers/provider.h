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
enum class ProviderClass { kTagged, kUntagged, kListed };

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
  // The key itself, for class listed.
  base::CredentialValue value;
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
  // none. `tag` is at most traits().tag_max_length long and of `a-z 0-9 -`.
  virtual void Create(const base::CredentialValue& manager, const std::string& tag,
                      CreateDone done) = 0;
  // All keys, over all pages; kOk only if the list is complete.
  virtual void List(const base::CredentialValue& manager, ListDone done) = 0;
  // kOk: the key works. kRejected: it does not. All else says nothing about the key.
  virtual void Verify(const base::CredentialValue& key, Done done) = 0;
  // kOk also when the key was gone already.
  virtual void Revoke(const base::CredentialValue& manager, const std::string& key_id,
                      Done done) = 0;
};

}  // namespace keyturn::providers

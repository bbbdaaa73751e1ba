// SPDX-License-Identifier: Apache-2.0
// FakeProvider: a whole service in memory, of any provider class, on simulated time. Each call
// travels: it leaves, arrives after `latency`, has its effect, and is answered after `latency`
// again; a fault changes one of those steps. What it remembers is the service's, so keep one
// FakeProvider over a restart of the agent under test and call ForgetCallers, as a crash would.
// Answers come as tasks of the executor. Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/base/value.h"
#include "agent/providers/provider.h"

namespace keyturn::fakes {

enum class ProviderCall { kCreate, kList, kVerify, kRevoke };

struct ProviderFault {
  enum class Kind {
    kNone,
    kLoseReply,        // the effect happens, the caller sees a timeout
    kLoseRequest,      // no effect, the caller sees the same timeout
    kLateEffect,       // the effect happens `late_by` after arrival, the caller sees a timeout
    kDuplicateEffect,  // the effect happens twice, as after a silent re-send; the second answers
    kRefuse,           // kRejected without effect
    kTransient,        // kTransient without effect
    kUnreadable,       // the effect happens, the answer is there but cannot be used: kUnknown
  };
  Kind kind = Kind::kNone;
  absl::Duration late_by = absl::ZeroDuration();
  // With kTransient.
  absl::Duration retry_after = absl::ZeroDuration();
};

class FakeProvider final : public providers::Provider {
 public:
  struct Options {
    // What the provider states about itself. The key limit, cached_for and tag length are also what
    // the service keeps to.
    providers::Traits traits;
    absl::Duration latency = absl::Milliseconds(20);
    absl::Duration timeout = absl::Seconds(30);
    // How long a new key really needs until it works, and until it is listed.
    absl::Duration works_after = absl::ZeroDuration();
    absl::Duration listed_after = absl::ZeroDuration();
    // The primary field a manager credential must have; empty: anyone may manage.
    std::string manager_secret;
    // Zero: keys carry no expiry. Negative: each is said to be dead already, which it is not.
    absl::Duration key_lifetime = absl::ZeroDuration();
    // False: the service states its limit and takes more keys all the same.
    bool enforces_limit = true;
    // Class roll: a key that is rolled gets a new id, as at GitLab.
    bool roll_renames = false;
    // In front of every key, so that a search for leaked secrets has something to look for.
    std::string key_prefix = "fake-";
  };

  struct Key {
    std::string id;
    std::string tag;
    std::string value;
    absl::Time created_at;
    std::optional<absl::Time> deleted_at;
    // Not made through Create: somebody else's.
    bool foreign = false;
    // Came of a create whose effect nobody could expect: a second one, or one later than `settle`.
    bool unexpected = false;

    bool exists() const { return !deleted_at.has_value(); }
  };

  FakeProvider(Options options, base::Clock& clock, base::Executor& executor);

  const providers::Traits& traits() const override;
  void Create(const base::CredentialValue& manager, const providers::NewKey& key,
              CreateDone done) override;
  void List(const base::CredentialValue& manager, ListDone done) override;
  void Verify(const base::CredentialValue& key, Done done) override;
  void Revoke(const base::CredentialValue& manager, const std::string& key_id,
              const base::CredentialValue& value, Done done) override;

  // The next calls of this kind that have no fault yet get these, in order.
  void InjectNext(ProviderCall call, ProviderFault fault);
  // Asked for each call for which nothing was injected. Must not call the provider.
  void SetFaults(absl::AnyInvocable<ProviderFault(ProviderCall)> pick);
  // The agent died: calls under way still have their effects but answer nobody.
  void ForgetCallers();

  // A key that somebody else made, or that was there before. Returns its id.
  std::string AddForeignKey(const std::string& tag = "");
  // As AddForeignKey, for a key that a person brings: gives its value away.
  std::pair<std::string, base::CredentialValue> MakeKeyByHand();
  // Somebody regenerates a slot by hand.
  void RegenerateSlot(const std::string& slot);
  // Somebody deletes a key by hand.
  void DeleteKey(const std::string& id);
  // Every key there ever was, oldest first.
  std::vector<Key> keys() const;
  std::vector<Key> existing_keys() const;
  // Whether a consumer with this value would be let in now.
  bool Works(const std::string& value) const;
  // How often this call was made.
  int calls(ProviderCall call) const;
  // The most keys that existed at one moment.
  size_t most_keys() const;
  // Likewise without those that came unexpected.
  size_t most_expected_keys() const;
  // Every secret it was ever sent or has made, and that of the managers.
  std::vector<std::string> secrets() const;
  // The most calls of this kind under way at one moment, as their caller sees it.
  int most_in_flight(ProviderCall call) const;
  // The shortest time, by the clock that says more, from when the caller was left in doubt about a
  // create (told so, or killed) to its next create.
  absl::Duration shortest_wait_in_doubt() const;

 private:
  struct Service;
  std::shared_ptr<Service> service_;
};

}  // namespace keyturn::fakes

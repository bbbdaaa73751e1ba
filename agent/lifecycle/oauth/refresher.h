// SPDX-License-Identifier: Apache-2.0
// Refresher: keeps every OAuth credential's access token fresh, with one exchange under way per
// credential however many ask. A flight is detached from those who wait for it, and a rotated
// refresh token is committed before the access token that came with it is handed out.
// Used on the lifecycle's executor only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/base/random.h"
#include "agent/lifecycle/freshness.h"
#include "agent/lifecycle/ledger.h"
#include "agent/lifecycle/oauth/host_gate.h"
#include "agent/lifecycle/oauth/refresh_policy.h"
#include "agent/observe/failures.h"
#include "agent/observe/log.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::lifecycle::oauth {

struct Surroundings {
  Ledger& ledger;
  base::Executor& executor;
  const base::Clock& clock;
  base::Random& random;
  observe::Failures& failures;
  observe::Log& log;
  providers::AuthorizationServer& server;
};

// The error for a credential whose refresh token is missing or refused.
absl::Status NeedsConsent(const CredentialState& state);
// The command that ends that.
std::string ConsentCommand(const CredentialState& state);

class Refresher {
 public:
  using Done = Freshness::Done;
  // Hands out the current version of the credential anew.
  using Publish = std::function<void(const std::string& credential)>;

  Refresher(Surroundings surroundings, Publish publish)
      : env_(surroundings), publish_(std::move(publish)) {}

  // Takes charge of a credential: at start, after it was applied, and after a refresh token was
  // put. `fetch_now`: what is held, or being fetched, is not what is wanted now. Otherwise what was
  // planned after a failure stays planned.
  void Adopt(const std::string& name, bool fetch_now);
  // What an exchange may have failed for is there now, or another: it is tried again at once. Not
  // in doubt.
  void TryAgain(const std::string& name);
  void Drop(const std::string& name);
  // The date was set: what is planned by dates is planned anew.
  void OnClockSet(const std::string& name);

  // As Freshness::EnsureFresh. While a failed refresh waits for its next attempt, this waits for
  // that attempt too, or answers at once when it lies beyond the timeout.
  void EnsureFresh(const std::string& name, absl::Duration timeout, Done done);
  enum class Asked {
    kByAdministrator,  // no retry, to the gate of the server: nobody does so often
    kInDoubt,          // by an administrator who takes the risk that the grant ends
  };
  // A refresh now, whatever the token has left. Joins the flight that is under way.
  void RefreshNow(const std::string& name, Asked asked, Done done);
  // An older copy of the store was put back: no refresh token that is used up by its use is used
  // again before somebody says so. Before the first Adopt.
  absl::Status DoubtAll();

  // Whether nobody knows if the last use of the refresh token reached the server: it must not be
  // used again before its time.
  bool InDoubt(const std::string& name) const;
  // Whether an exchange is under way; RefreshNow joins it.
  bool Busy(const std::string& name) const;
  // While tokens are being ended at the server: no exchange begins until Release, and whoever asks
  // waits; what a login brings is thrown away. Not while Busy. Returns a number that is never 0 and
  // that no other hold of this process has.
  uint64_t Hold(const std::string& name);
  // The number of the hold that the credential is under; 0: none.
  uint64_t HoldOf(const std::string& name) const;
  // `ended`: there is no token any more, and the next one is got when somebody asks for it.
  void Release(const std::string& name, bool ended);

  // A person has consented: what that brought takes the place of all there was, in doubt or
  // refused, and `done` comes when it is stored, with the version that is handed out from then on.
  // `dpop_key`: what the tokens are bound to; empty: nothing. An exchange under way is thrown away.
  using Stored = absl::AnyInvocable<void(absl::StatusOr<uint64_t>)>;
  void Consented(const std::string& name, providers::TokenReply reply, base::Secret dpop_key,
                 Stored done);

  // One that could not be stored yet is not stored any more: something newer took its place.
  void DropConsent(const std::string& name);

  // Null when no token is held.
  const Windows* WindowsOf(const std::string& name) const;
  // The whole lifetime the current token came with; infinite when there is none.
  absl::Duration LifetimeOf(const std::string& name) const;
  // When the next exchange is planned; InfiniteFuture: none.
  absl::Time NextAt(const std::string& name) const;

 private:
  struct Waiter {
    uint64_t number = 0;
    Done done;
    base::Executor::TimerId timer = 0;
  };
  struct Token {
    std::optional<Windows> windows;  // none: no token is held
    absl::Duration lifetime = absl::InfiniteDuration();
    base::Executor::TimerId timer = 0;
    base::BootTime next_at = base::BootTime::InfiniteFuture();
    uint64_t flight = 0;  // 0: none under way
    uint64_t hold = 0;    // 0: not held
    absl::Time flight_started = absl::InfinitePast();
    base::Secret sent;      // the refresh token of the flight; empty: without one
    bool outdated = false;  // the flight fetches what is not wanted any more
    bool hurried = false;   // what the flight may be refused for has changed since
    // When it was to be tried next before it was held.
    base::BootTime held_plan = base::BootTime::InfiniteFuture();
    uint64_t consent = 0;  // a number of the last one that a person gave
    std::string host;      // whose gate it was last sent to
    // When the refresh token was last sent; none: not by this process.
    std::optional<base::BootTime> sent_at;
    bool in_leeway = false;  // the next attempt repeats what may have been spent
    bool by_person = false;  // the next attempt was asked for by an administrator
    uint32_t failures = 0;
    uint32_t ambiguous = 0;
    bool doubt_retried = false;
    absl::Status last_error;
    std::vector<Waiter> waiters;
    base::Executor::TimerId consent_timer = 0;
    absl::Time consent_told = absl::InfinitePast();  // the end that was last warned of, and when
    int consent_notices = 0;
  };
  struct Host {
    HostGate gate;
    base::Executor::TimerId timer = 0;
    bool told = false;  // that it is down
  };

  void PlanAt(const std::string& name, base::BootTime when);
  void Wait(const std::string& name, absl::Duration timeout, Done done);
  void Attempt(const std::string& name);
  // Takes its place among those who want something of the same server.
  void Enqueue(const std::string& name, const CredentialState& state);
  // Sends what may be sent now, and comes back when the next one may.
  void Pump(const std::string& host);
  // False when nothing was sent.
  bool Send(const std::string& host, const HostGate::Permit& permit);
  void Heard(const std::string& host, const HostGate::Permit& permit,
             providers::TokenOutcome outcome);
  void TellDown(const std::string& host);
  void LeaveHost(const std::string& name, Token& token);
  const HostGate* QueuedAt(const std::string& name, const Token& token) const;
  // When the next attempt is, as far as is known.
  base::BootTime NextTry(const std::string& name, const Token& token) const;
  // How long its server is spared because it is down; zero: it is not.
  absl::Duration HostPause(const CredentialState& state) const;
  absl::Status HostDown(const std::string& name, absl::Duration pause) const;
  // What is there to be known before it may be tried in doubt.
  absl::Status Doubtful(const std::string& name) const;
  // An administrator has said that it is to be tried.
  absl::Status AllowInDoubt(const std::string& name);
  bool PutProofKey(const std::string& name);
  // Since the first use of the refresh token whose outcome is not known.
  absl::Duration SinceSent(const CredentialState& state) const;
  // How much longer the last of them may be on its way.
  absl::Duration OnItsWay(const Token& token, const CredentialState& state) const;
  // The soft point, or earlier where the refresh token would die of not being used.
  base::BootTime NextRefresh(const std::string& name) const;
  void WatchConsent(const std::string& name);
  void AskLifetime(const std::string& name, uint64_t version, base::BootTime sent_at);
  bool JournalInFlight(const std::string& name, const CredentialState& state);
  // Sees to it that the tokens of other credentials that its request needs are valid; false: later.
  bool SecureSubjects(const std::string& name);
  void OnReply(const std::string& name, uint64_t flight, providers::TokenReply reply);
  // Whether the refresh token of the flight is still the one that is held.
  bool HoldsSent(const Token& token, const CredentialState& state) const;
  // What the flight brings is of no use.
  void StartOver(const std::string& name);
  void Accept(const std::string& name, uint64_t flight, providers::TokenReply reply);
  struct NewToken {
    uint64_t version = 0;
    absl::Duration lifetime;
  };
  // Puts the access token in the place of the current one.
  NewToken PutToken(store::Transaction& transaction, const CredentialState& state,
                    const providers::TokenReply& reply, const base::Secret& dpop_key) const;
  // When that is committed: hands it out, plans what comes next and wakes everyone.
  void Settle(const std::string& name, base::BootTime sent_at, absl::Duration lifetime);
  // As Consented, unless another consent has come after this one.
  void StoreConsent(const std::string& name, uint64_t number, providers::TokenReply reply,
                    base::Secret dpop_key, Stored done);
  // Once nothing is left of an older store that was put back.
  void LookAtRestored();
  void OnFailure(const std::string& name, const providers::TokenReply& reply);
  void OnInvalidGrant(const std::string& name, const providers::TokenReply& reply);
  void OnDoubt(const std::string& name, const providers::TokenReply& reply);
  // `answered`: a reply came, so that the request is not on its way any more. `floor`: the server
  // wants to be left alone for so long.
  void PlanInDoubt(const std::string& name, const CredentialState& state, bool answered,
                   absl::Duration floor);
  void RetryLater(const std::string& name, observe::FailureCode code, absl::string_view cause,
                  int http_status, absl::Duration floor, bool alert);
  // Put back from an older copy: nothing is sent before an administrator says so.
  void AwaitDecision(const std::string& name);
  void Alert(const std::string& name, observe::FailureCode code, absl::string_view cause,
             int http_status, absl::Time next_retry, std::string detail);
  // Wakes everyone with the same answer.
  void Land(const std::string& name, const absl::Status& status);
  absl::Duration Runway(const Token& token) const;

  Surroundings env_;
  const Publish publish_;
  uint64_t next_number_ = 1;
  std::map<std::string, Token> tokens_;
  // Those that some token was sent to, or waits for.
  std::map<std::string, Host> hosts_;
  bool restored_ = false;  // some refresh token waits for a decision
};

}  // namespace keyturn::lifecycle::oauth

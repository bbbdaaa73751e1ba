// SPDX-License-Identifier: Apache-2.0
// LoginSessions: the logins that people are in the middle of, in a browser or on another device.
// Verifiers, device codes and the client's secrets never leave the agent, nothing of a login is
// stored, and whatever it held is wiped when it is over; a restart of the agent forgets it.
// Used on the lifecycle's executor only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/executor.h"
#include "agent/base/secret.h"
#include "agent/lifecycle/oauth/refresher.h"
#include "agent/providers/authorization_server.h"
#include "keyturn/v1/admin.pb.h"

namespace keyturn::lifecycle::oauth {

class LoginSessions {
 public:
  using Started = absl::AnyInvocable<void(absl::StatusOr<v1::StartLoginResponse>)>;
  using Finished = absl::AnyInvocable<void(absl::StatusOr<v1::FinishLoginResponse>)>;

  static constexpr size_t kOpenMax = 16;
  static constexpr absl::Duration kOpenFor = absl::Minutes(10);

  LoginSessions(Surroundings surroundings, Refresher& refresher)
      : env_(surroundings), refresher_(refresher) {}

  // For a credential that exists and has a login. Takes the place of its earlier login.
  // `redirect_uri` empty: the device flow, whose polling begins at once.
  void Start(const std::string& name, const std::string& redirect_uri, Started done);
  // A browser's login is over with this, whatever comes of it.
  void Finish(const std::string& name, const std::string& id, const base::Secret& redirected_to,
              Finished done);
  // Ends the credential's login, if there is one; what its exchange brings is thrown away.
  void Drop(const std::string& name);

 private:
  enum class Phase {
    kStarting,    // the server is being asked
    kOpen,        // the person is at it
    kExchanging,  // what they brought is being turned into tokens, and these stored
    kDecided,     // over, and nobody has asked yet
  };
  struct Session {
    std::string credential;
    v1::OAuthSpec spec;  // as it was at the beginning
    Phase phase = Phase::kStarting;
    bool device = false;
    std::string redirect_uri;
    std::string issuer;  // empty: not known
    // The server has said that every redirect carries its issuer (RFC 9207).
    bool names_itself = false;
    absl::Time began_at;
    base::Secret state;
    base::Secret verifier;
    base::Secret code;
    // The one that tokens will be bound to; empty: none.
    base::Secret dpop_key;
    absl::Duration interval;
    uint32_t failures = 0;
    bool expired = false;
    base::Executor::TimerId expiry = 0;
    base::Executor::TimerId poll = 0;
    absl::Time expires_at;
    std::optional<absl::StatusOr<v1::FinishLoginResponse>> outcome;
    Finished waiter;
  };

  void OnEndpoints(const std::string& id, absl::StatusOr<providers::Endpoints> endpoints,
                   Started done);
  void OnDevice(const std::string& id, absl::StatusOr<providers::DeviceReply> reply, Started done);
  void Open(const std::string& id, absl::Duration lasts);
  void FailStart(const std::string& id, const absl::Status& why, Started done);
  // What the browser brought back, judged.
  absl::Status ReadCode(Session& session, const base::Secret& redirected_to) const;
  void PollAfter(const std::string& id, absl::Duration wait);
  // Turns the code into tokens.
  // Whether the credential is what it was when the login began.
  absl::Status CheckTerms(const Session& session) const;
  void Exchange(const std::string& id);
  void OnReply(const std::string& id, providers::TokenReply reply);
  void OnNoTokens(const std::string& id, const providers::TokenReply& reply);
  void OnStored(const std::string& id, const std::vector<std::string>& scopes,
                absl::StatusOr<uint64_t> version);
  void Decide(const std::string& id, absl::StatusOr<v1::FinishLoginResponse> outcome);
  void Expire(const std::string& id);
  // A line in the credential's history.
  void NoteFailure(const Session& session, const absl::Status& why);
  void End(const std::string& id, const absl::Status& why);
  // Null when the login is over.
  Session* Find(const std::string& id);

  Surroundings env_;
  Refresher& refresher_;
  std::map<std::string, Session> sessions_;
};

}  // namespace keyturn::lifecycle::oauth

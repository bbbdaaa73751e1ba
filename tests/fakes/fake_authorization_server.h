// SPDX-License-Identifier: Apache-2.0
// FakeAuthorizationServer: an authorization server in memory, on simulated time, with refresh
// tokens that rotate and the detection of their reuse. Each request leaves, arrives after
// `latency`, has its effect and is answered after `latency` again; a fault changes one of those
// steps. What it remembers is the server's: keep one over a restart of the agent and call
// ForgetCallers, as a crash would. Answers come as tasks of the executor. Belongs to the executor's
// thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::fakes {

struct TokenFault {
  enum class Kind {
    kNone,
    kLoseReply,     // the effect happens, the caller sees a timeout
    kLoseRequest,   // no effect, the caller sees the same timeout
    kLateEffect,    // the effect happens `late_by` after arrival, the caller sees a timeout
    kServerError,   // a 500 without effect
    kFailAfter,     // a 500 after the effect
    kTransient,     // 429, with `retry_after`
    kRefuseClient,  // invalid_client
    kProxyPage,     // a 403 page of some firewall
    kEndedToken,    // granted: a token that has ended already, and says so
  };
  Kind kind = Kind::kNone;
  absl::Duration late_by = absl::ZeroDuration();
  absl::Duration retry_after = absl::ZeroDuration();
};

class FakeAuthorizationServer final : public providers::AuthorizationServer {
 public:
  struct Options {
    absl::Duration lifetime = absl::Minutes(10);
    // False: the same refresh token stays valid.
    bool rotates = true;
    // How long the previous refresh token is still accepted after its replacement.
    absl::Duration leeway = absl::ZeroDuration();
    absl::Duration latency = absl::Milliseconds(20);
    absl::Duration timeout = absl::Seconds(30);
  };
  FakeAuthorizationServer(Options options, base::Clock& clock, base::Executor& executor);

  void Request(providers::TokenRequest request, Done done) override;
  void Discover(providers::ServerConfig server, Answer<providers::Endpoints> done) override;
  void StartDevice(providers::ServerConfig server, providers::DeviceRequest request,
                   Answer<providers::DeviceReply> done) override;
  void Revoke(providers::ServerConfig server, base::Secret token, std::string hint,
              absl::AnyInvocable<void(absl::Status)> done) override;
  void Introspect(providers::ServerConfig server, base::Secret token,
                  Answer<providers::IntrospectionReply> done) override;
  void Try(providers::TokenTrial trial, Answer<int> done) override;

  // A person consents to an authorization request in their browser: the code it gets, which works
  // once, with this client, redirect address and verifier.
  std::string Consent(const std::string& client, const std::string& redirect_uri,
                      const std::string& challenge);
  // On another device, to every device code given out so far; false: denies.
  void DecideDevices(bool consents);
  // Whether consent brings a refresh token; it does at first.
  void SetGivesRefreshTokens(bool gives);
  // Overrides the answer to Discover; at first OK with endpoints at the issuer.
  void SetDiscovery(absl::Status status);
  // Whether its metadata says that it names itself in redirects (RFC 9207); it does not at first.
  void SetNamesItself(bool names);
  // From here on its metadata names no authorization endpoint.
  void HideAuthorizationEndpoint();
  // Changes what replies say, after their effect.
  void EditReplies(std::function<void(providers::TokenReply&)> edit);
  void EditDeviceReplies(std::function<void(providers::DeviceReply&)> edit);
  // What Introspect is answered with, `late` later than otherwise; nothing: what is so.
  void SetIntrospection(std::optional<absl::StatusOr<providers::IntrospectionReply>> answer,
                        absl::Duration late = absl::ZeroDuration());
  int introspections() const;
  // How often a device code was asked about.
  int polls() const;
  // The next poll is told to slow down.
  void SlowDownOnce();

  // A grant for this client: its first refresh token. A new one replaces the old.
  std::string NewGrant(const std::string& client);
  void InjectNext(TokenFault fault);
  // Asked for each request for which nothing was injected.
  void SetFaults(std::function<TokenFault()> pick);
  // What revocations are answered with. OK, as at first: they end the token, and a refresh token
  // its grant.
  void SetRevocation(absl::Status status);
  // What the next Try is answered with; else 200 or 401, as Accepts says.
  void AnswerNextTry(absl::StatusOr<int> answer);
  // The last Try as it was made, its header as `NAME: VALUE`.
  std::string last_tried() const;
  // The key that it was to be made with; empty: none.
  std::string last_tried_key() const;
  void ForgetCallers();

  // Whether a service would take this access token now.
  bool Accepts(const std::string& access_token) const;
  // The subject token of the last exchange that arrived.
  const std::string& last_subject() const;
  bool GrantAlive(const std::string& client) const;
  int requests() const;
  // As it came; there must have been one.
  const providers::TokenRequest& last_request() const;
  // `HINT TOKEN` of each revocation so far.
  const std::vector<std::string>& revocations() const;
  // Requests with a refresh token that was spent and beyond its leeway: each ended a grant.
  int replays() const;
  // Every token it ever gave out, of either kind.
  const std::vector<std::string>& issued() const;
  // Most requests of one client under way at one moment, as its caller sees it.
  int most_in_flight() const;

 private:
  struct Server;
  std::shared_ptr<Server> server_;
};

}  // namespace keyturn::fakes

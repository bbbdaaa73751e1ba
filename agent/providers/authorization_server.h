// SPDX-License-Identifier: Apache-2.0
// AuthorizationServer: exchanges with an OAuth 2.0 server (RFC 6749 and what extends it) and what
// became of each. A reply that was lost is its own class: with refresh-token rotation a blind
// second try can end the whole grant. Endpoints that a request leaves empty come from the issuer's
// metadata (RFC 8414). Thread-safe; every `done` is called exactly once, on any thread, never from
// within.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/secret.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::providers {

enum class Grant {
  kClientCredentials,
  kRefreshToken,
  kAuthorizationCode,
  kDeviceCode,
  kJwtBearer,
  kTokenExchange,
};

// The URLs of a server. Those that are empty are looked up, if there is an issuer to ask.
struct Endpoints {
  std::string issuer;
  std::string token;
  std::string refresh;  // empty: as token
  std::string authorization;
  std::string device;
  std::string revocation;
  std::string introspection;
  // The server says that each address it sends a browser back to names it (RFC 9207 section 3).
  bool names_itself = false;
};

// How Keyturn presents itself to the server.
struct OAuthClient {
  v1::ClientAuth auth = v1::BASIC;
  std::string id;
  base::Secret secret;
  // PEM, for kPrivateKeyJwt and for own assertions.
  base::Secret signing_key;
  std::string key_id;
  std::string algorithm;  // RS256, ES256, EdDSA
  // PEM, for TLS_CLIENT_AUTH.
  base::Secret certificate;
  base::Secret certificate_key;
};

// The server, as all requests of one credential see it.
struct ServerConfig {
  Endpoints endpoints;
  OAuthClient client;
  v1::OAuthQuirks quirks;
  // PEM of a P-256 key; empty: no DPoP.
  base::Secret dpop_key;
};

struct TokenRequest {
  ServerConfig server;
  Grant grant = Grant::kClientCredentials;
  // What each grant brings.
  base::Secret refresh_token;
  base::Secret code;
  std::string redirect_uri;
  base::Secret code_verifier;
  base::Secret device_code;
  // Of jwt_bearer: a JWT of somebody else's; empty: one is signed from `claims`.
  base::Secret assertion;
  std::map<std::string, std::string> claims;
  absl::Duration assertion_lifetime = absl::Minutes(5);
  // Of token_exchange, RFC 8693 section 2.1.
  base::Secret subject_token;
  std::string subject_token_type;
  base::Secret actor_token;
  std::string actor_token_type;
  std::string requested_token_type;

  std::vector<std::string> scopes;
  std::string audience;
  std::vector<std::string> resources;
  std::map<std::string, std::string> extra_params;
};

enum class TokenOutcome {
  kGranted,
  // Definitely nothing happened; worth another try.
  kTransient,
  // The person has not decided yet (RFC 8628 section 3.5); with slow_down, retry_after is set.
  kPending,
  // The person, or the server for them, said no: access_denied, expired_token.
  kDenied,
  // The client is refused, whatever the grant: invalid_client and its kin (RFC 6749 section 5.2).
  kClientRefused,
  // The refresh token, code or assertion is not accepted (any more).
  kInvalidGrant,
  // An error that no OAuth server speaks: a proxy's page, a firewall. Never a reason to give up.
  kAmbiguous,
  // The request went out and no readable reply came back.
  kUnknown,
};

struct TokenReply {
  TokenOutcome outcome = TokenOutcome::kUnknown;
  base::Secret access_token;
  // "Bearer", "DPoP"; empty when the server does not say.
  std::string token_type;
  // InfiniteDuration when the server does not say; zero for what has ended already.
  absl::Duration expires_in = absl::InfiniteDuration();
  // Empty when the old one stays.
  base::Secret refresh_token;
  // Lifetime of the refresh token where the server states one; InfiniteDuration otherwise.
  absl::Duration refresh_expires_in = absl::InfiniteDuration();
  // Empty when the server does not say; then they are the ones asked for.
  std::vector<std::string> scopes;
  // From our own fixed vocabulary.
  std::string cause;
  int http_status = 0;
  absl::Duration retry_after = absl::ZeroDuration();
  // When the request was handed to the network: lifetimes count from here, since the server's clock
  // started no earlier.
  base::BootTime sent_at;
};

// RFC 8628 section 3.1, RFC 8707.
struct DeviceRequest {
  std::vector<std::string> scopes;
  std::string audience;
  std::vector<std::string> resources;
};

// RFC 8628 section 3.2.
struct DeviceReply {
  base::Secret device_code;
  std::string user_code;
  std::string verification_uri;
  std::string verification_uri_complete;
  absl::Duration expires_in = absl::Minutes(10);
  absl::Duration interval = absl::Seconds(5);
};

// RFC 7662 section 2.2.
struct IntrospectionReply {
  bool active = false;
  // InfiniteDuration when the server does not say.
  absl::Duration expires_in = absl::InfiniteDuration();
};

// How a token is presented to a service.
struct TokenTrial {
  std::string url;
  base::Secret access_token;
  // The header that carries it, and all that the header says.
  std::string header = "Authorization";
  base::Secret header_value;
  // PEM of the key that the token is bound to (RFC 9449 section 7); empty: it is not.
  base::Secret dpop_key;
};

class AuthorizationServer {
 public:
  using Done = absl::AnyInvocable<void(TokenReply)>;
  template <class T>
  using Answer = absl::AnyInvocable<void(absl::StatusOr<T>)>;
  virtual ~AuthorizationServer() = default;

  virtual void Request(TokenRequest request, Done done) = 0;

  // The calls below answer UNAVAILABLE when asking again may help, PERMISSION_DENIED when the
  // client is refused, UNIMPLEMENTED when the server has no such endpoint or says that it does not
  // do this, FAILED_PRECONDITION when something has to be corrected first: the metadata names
  // another issuer or cannot be read, the address leads nowhere, there is no key to sign with.
  // Messages hold nothing of the remote side's text.

  // The endpoints, those that were empty filled in. Asks the issuer, if there is one, even when
  // nothing is empty.
  virtual void Discover(ServerConfig server, Answer<Endpoints> done) = 0;
  virtual void StartDevice(ServerConfig server, DeviceRequest request,
                           Answer<DeviceReply> done) = 0;
  // `hint` is access_token or refresh_token (RFC 7009 section 2.1).
  virtual void Revoke(ServerConfig server, base::Secret token, std::string hint,
                      absl::AnyInvocable<void(absl::Status)> done) = 0;
  virtual void Introspect(ServerConfig server, base::Secret token,
                          Answer<IntrospectionReply> done) = 0;
  // A GET with the token, as a service would make it: what `keyturn test` does. Answers the HTTP
  // status; UNAVAILABLE when no reply came.
  virtual void Try(TokenTrial trial, Answer<int> done) = 0;
};

}  // namespace keyturn::providers

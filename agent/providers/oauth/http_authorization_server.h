// SPDX-License-Identifier: Apache-2.0
// AuthorizationServer over HTTP. The parts: where the endpoints are (discovery), what a request
// says (token_form), who says it (client_authentication), to whom its token is bound
// (dpop_exchange), and what the answer means (token_reply, endpoint_replies). Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/base/clock.h"
#include "agent/base/random.h"
#include "agent/net/egress.h"
#include "agent/net/http_client.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::providers {

class HttpAuthorizationServer final : public AuthorizationServer {
 public:
  struct Options {
    // What endpoints found in metadata must keep to; the client enforces its own anyway.
    net::EgressRules egress;
    // Of each exchange.
    absl::Duration timeout = absl::Seconds(30);
  };
  // What is referred to outlives every exchange, also those that outlive this object.
  HttpAuthorizationServer(net::HttpClient& http, Options options, base::Clock& clock,
                          base::Random& random);
  ~HttpAuthorizationServer() override;

  void Request(TokenRequest request, Done done) override;
  void Discover(ServerConfig server, Answer<Endpoints> done) override;
  void StartDevice(ServerConfig server, DeviceRequest request, Answer<DeviceReply> done) override;
  void Revoke(ServerConfig server, base::Secret token, std::string hint,
              absl::AnyInvocable<void(absl::Status)> done) override;
  void Introspect(ServerConfig server, base::Secret token,
                  Answer<IntrospectionReply> done) override;
  void Try(TokenTrial trial, Answer<int> done) override;

 private:
  struct Core;
  const std::shared_ptr<Core> core_;
};

}  // namespace keyturn::providers

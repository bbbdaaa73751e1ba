// SPDX-License-Identifier: Apache-2.0
// AuthorizationServer over HTTP: form-encoded requests as RFC 6749 has them. Thread-safe.
#pragma once

#include "agent/net/http_client.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::providers {

class HttpAuthorizationServer final : public AuthorizationServer {
 public:
  HttpAuthorizationServer(net::HttpClient& http, absl::Duration timeout)
      : http_(http), timeout_(timeout) {}
  void Request(TokenRequest request, Done done) override;
  void Discover(ServerConfig server, Answer<Endpoints> done) override;
  void StartDevice(ServerConfig server, std::vector<std::string> scopes,
                   Answer<DeviceReply> done) override;
  void Revoke(ServerConfig server, base::Secret token, std::string hint,
              absl::AnyInvocable<void(absl::Status)> done) override;
  void Introspect(ServerConfig server, base::Secret token,
                  Answer<IntrospectionReply> done) override;
  void Try(ServerConfig server, std::string url, base::Secret token, std::string token_type,
           Answer<int> done) override;

 private:
  net::HttpClient& http_;
  const absl::Duration timeout_;
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// TokenEndpoint over HTTP: form-encoded requests as RFC 6749 has them. Thread-safe.
#pragma once

#include "agent/net/http_client.h"
#include "agent/providers/token_endpoint.h"

namespace keyturn::providers {

class HttpTokenEndpoint final : public TokenEndpoint {
 public:
  HttpTokenEndpoint(net::HttpClient& http, absl::Duration timeout)
      : http_(http), timeout_(timeout) {}
  void Request(TokenRequest request, Done done) override;

 private:
  net::HttpClient& http_;
  const absl::Duration timeout_;
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// How the client shows who it is, in whatever it asks of the server: RFC 6749 section 2.3, RFC 7523
// section 2.2, RFC 8705 section 2. Thread-safe.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/random.h"
#include "agent/net/http_client.h"
#include "agent/providers/authorization_server.h"
#include "agent/providers/oauth/request_params.h"

namespace keyturn::providers {

// `audience` is the server an assertion is for. InvalidArgument when the client's key is not what
// its algorithm needs.
absl::Status AddClientAuthentication(const OAuthClient& client, absl::string_view audience,
                                     absl::Time now, base::Random& random, RequestParams& params,
                                     net::HttpRequest& http);

// 128 random bits as base64url: no two assertions have the same `jti`.
std::string NewJti(base::Random& random);

}  // namespace keyturn::providers

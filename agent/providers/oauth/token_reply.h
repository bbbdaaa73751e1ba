// SPDX-License-Identifier: Apache-2.0
// Reads what a token endpoint answered, standard or not. The line that matters is the one between
// replies that say that nothing happened and those after which a refresh token may be spent: what
// cannot be read is kUnknown. Pure; takes hostile input.
#pragma once

#include "absl/time/time.h"
#include "agent/net/http_client.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::providers {

// What is known of the request that is answered.
struct TokenQuestion {
  Grant grant = Grant::kClientCredentials;
  v1::OAuthQuirks quirks;
  // Our wall clock, for lifetimes that are stated as a moment by servers that do not say what time
  // it is with them.
  absl::Time now;
};

TokenReply ReadTokenReply(const net::HttpResult& result, const TokenQuestion& question);

}  // namespace keyturn::providers

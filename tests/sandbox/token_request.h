// SPDX-License-Identifier: Apache-2.0
//
// Reads a token request (RFC 6749 sections 2.3.1, 3.2, 4.4 and 6) out of an HTTP request: form or
// JSON body, client credentials by HTTP Basic or in the body. Only the form of the request is
// judged here; whether the client and the tokens are any good is for OauthServer to say.
// Pure functions.
#pragma once

#include <string>
#include <variant>

#include <nlohmann/json_fwd.hpp>

#include "tests/sandbox/request.h"

namespace keyturn::sandbox {

struct TokenRequest {
  std::string grant_type;
  std::string client_id;
  std::string client_secret;
  std::string refresh_token;
  std::string scope;
  // The client spoke HTTP Basic, so a refusal must carry a challenge.
  bool used_basic = false;
};

// `code` is one of RFC 6749 section 5.2.
struct OauthError {
  int status = 400;
  std::string code;
  std::string description;
  bool basic_challenge = false;
};

std::variant<TokenRequest, OauthError> ParseTokenRequest(const Request& request);

// Adds the headers that every answer of a token endpoint must have.
Reply TokenEndpointReply(int status, const nlohmann::json& body);
Reply ToReply(const OauthError& error);

}  // namespace keyturn::sandbox

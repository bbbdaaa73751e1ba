// SPDX-License-Identifier: Apache-2.0
// What a token request says, grant by grant, without how the client shows who it is: RFC 6749
// sections 4 and 6, RFC 7636, 8628, 7523, 8693, 8707. Thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/random.h"
#include "agent/providers/authorization_server.h"
#include "agent/providers/oauth/request_params.h"

namespace keyturn::providers {

// `audience` is the server that an own assertion is for, if its claims do not say. InvalidArgument
// when it cannot be signed.
absl::StatusOr<RequestParams> TokenParams(const TokenRequest& request, absl::string_view audience,
                                          absl::Time now, base::Random& random);

// The scopes as one text, separated as this server wants them.
std::string JoinScopes(const std::vector<std::string>& scopes, const v1::OAuthQuirks& quirks);

}  // namespace keyturn::providers

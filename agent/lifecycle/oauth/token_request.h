// SPDX-License-Identifier: Apache-2.0
// From a credential's specification to what is sent: the server's and the client's description with
// the secrets that they refer to, and the request for the next access token. Pure reads of the
// ledger; used on the lifecycle's executor only.
#pragma once

#include "absl/status/statusor.h"
#include "agent/lifecycle/ledger.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::lifecycle::oauth {

// Host and port of the authorization server, as far as the configuration tells.
std::string ServerHostOf(const v1::OAuthSpec& spec);

// Whether access tokens come from a refresh token that consent brought.
bool UsesRefreshToken(const v1::CredentialSpec& spec);
// Whether a person consents through `keyturn login`.
bool HasLogin(const v1::CredentialSpec& spec);

// FailedPrecondition when a secret that is referred to has no value yet; the message names it.
absl::StatusOr<providers::ServerConfig> ServerConfigFor(const Ledger& ledger,
                                                        const CredentialState& state);
absl::StatusOr<providers::TokenRequest> TokenRequestFor(const Ledger& ledger,
                                                        const CredentialState& state);

}  // namespace keyturn::lifecycle::oauth

// SPDX-License-Identifier: Apache-2.0
// The two addresses of a login in a browser (RFC 6749 section 4.1, PKCE of RFC 7636): the one that
// the person opens, and the one that the browser is sent back to. Neither is trusted: a redirect
// may come from any page that knows the address. Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle::oauth {

// 43 characters of base64url: 32 bytes that nobody can guess.
base::Secret NewUnguessable(base::Random& random);
// Method S256.
std::string PkceChallenge(const base::Secret& verifier);

struct AuthorizationAsk {
  std::string endpoint;
  std::string redirect_uri;
  std::string state;
  std::string challenge;   // empty: no PKCE
  std::string thumbprint;  // of the DPoP key; empty: none
};
std::string AuthorizationUrl(const v1::OAuthSpec& spec, const AuthorizationAsk& ask);

// https, or http to this very host (RFC 8252 section 7.3); without query and fragment.
absl::Status CheckRedirectUri(absl::string_view uri);

struct Redirected {
  base::Secret state;
  base::Secret code;
  std::string error;
  std::string issuer;  // RFC 9207
};
// InvalidArgument when it is not `redirect_uri` with a query, when a parameter comes twice, or when
// there is neither a code nor an error. Messages hold nothing of the address.
absl::StatusOr<Redirected> ReadRedirect(absl::string_view redirect_uri,
                                        const base::Secret& redirected_to);

}  // namespace keyturn::lifecycle::oauth

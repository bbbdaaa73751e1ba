// SPDX-License-Identifier: Apache-2.0
// What to tell the person when a login did not work: what happened, and what to do. Of what the
// remote side says, only the standards' own error codes are repeated. Pure.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::lifecycle::oauth {

// `error`, as the browser brought it back (RFC 6749 section 4.1.2.1).
absl::Status RefusedInBrowser(absl::string_view error);

// Of a token request for a code or a device code that brought no tokens.
absl::Status ExchangeFailed(const providers::TokenReply& reply);

// Asked for a browser, of a credential whose grant knows none.
absl::Status ByDeviceOnly(absl::string_view name);
absl::Status NoSuchLogin();
absl::Status LoginExpired();
// Refused as a forgery or a mix-up, before anything was sent.
absl::Status WrongRedirect(absl::string_view why);

}  // namespace keyturn::lifecycle::oauth

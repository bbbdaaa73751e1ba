// SPDX-License-Identifier: Apache-2.0
// Reads what the endpoints beside the token endpoint answer: device authorization (RFC 8628),
// revocation (RFC 7009), introspection (RFC 7662). Errors are those of AuthorizationServer and hold
// nothing of the remote side's text. An error is one at whatever status: the standard's member, or
// what the quirks describe. Pure; takes hostile input.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/net/egress.h"
#include "agent/net/http_client.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::providers {

// The URLs in it may be shown to a person and opened: https, or http where that is allowed.
absl::StatusOr<DeviceReply> ReadDeviceReply(const net::HttpResult& result,
                                            const v1::OAuthQuirks& quirks,
                                            const net::EgressRules& egress);

// OK as well for tokens that the server does not know (any more).
absl::Status ReadRevocationReply(const net::HttpResult& result, const v1::OAuthQuirks& quirks);

// `now` is our wall clock, used where the server does not say what time it is.
absl::StatusOr<IntrospectionReply> ReadIntrospectionReply(const net::HttpResult& result,
                                                          const v1::OAuthQuirks& quirks,
                                                          absl::Time now);

}  // namespace keyturn::providers

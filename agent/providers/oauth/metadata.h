// SPDX-License-Identifier: Apache-2.0
// The metadata of authorization servers: where it lies and what it says (RFC 8414, OpenID Connect
// Discovery 1.0, RFC 8705 section 5, RFC 9207). Pure; takes hostile input.
#pragma once

#include <string>
#include <vector>

#include "agent/base/secret.h"
#include "agent/net/egress.h"
#include "agent/providers/authorization_server.h"

namespace keyturn::providers {

struct ServerMetadata {
  // Empty where the server has none, or none that may be called.
  Endpoints endpoints;
  // Those that differ for clients that show a certificate.
  Endpoints with_certificate;
};

// Empty when the issuer is no https URL (or http, where that is allowed) without query and
// fragment.
std::vector<std::string> MetadataLocations(const std::string& issuer,
                                           const net::EgressRules& egress);

enum class MetadataReading { kGood, kUnreadable, kOtherIssuer };

// The issuer must be named exactly. Endpoints keep to https unless the issuer itself is on http,
// and to the rules for URLs; those that do not are left out.
MetadataReading ReadMetadata(const base::Secret& body, const std::string& issuer,
                             const net::EgressRules& egress, ServerMetadata& metadata);

// Puts the metadata's endpoints where `stated` has none, and what it says of itself.
void FillIn(const ServerMetadata& metadata, bool with_certificate, Endpoints& stated);

}  // namespace keyturn::providers

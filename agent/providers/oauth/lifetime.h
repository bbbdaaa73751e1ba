// SPDX-License-Identifier: Apache-2.0
// Lifetimes in the ways in which servers state them. Pure; takes hostile input. What makes no sense
// counts as unstated: InfiniteDuration. What has ended already is zero.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::providers {

// From zero to 366 days; longer ones are cut to that. `now` is the server's time as far as it is
// known, for those that state a moment. JWT_EXP and FIXED count as seconds here.
absl::Duration ReadLifetime(const nlohmann::json& stated, v1::OAuthQuirks::LifetimeUnit unit,
                            absl::Time now);

// The same of a member that another part of the reply may state as the standard does: where the
// unit wants a text or a moment, a number that is no such thing is seconds.
absl::Duration ReadUnlessSeconds(const nlohmann::json& stated, v1::OAuthQuirks::LifetimeUnit unit,
                                 absl::Time now);

// The same of a refresh token, of which servers say seconds whatever they say of access tokens: a
// number is in the unit only if it would be more than 366 days otherwise.
absl::Duration ReadRefreshLifetime(const nlohmann::json& stated, v1::OAuthQuirks::LifetimeUnit unit,
                                   absl::Time now);

// Of a JWT, by its claim `exp`. Nothing of it is verified: it is not us who trust it.
absl::Duration JwtLifetime(absl::string_view token, absl::Time now);

// RFC 9110 section 5.6.7, the obsolete forms too.
std::optional<absl::Time> ParseHttpDate(absl::string_view text);

}  // namespace keyturn::providers

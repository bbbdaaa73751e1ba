// SPDX-License-Identifier: Apache-2.0
// Tokens that need each other. A token may be got with another one (as the subject of an exchange,
// as an assertion, as a secret of the client); where that leads back to itself, none of them would
// ever come. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/lifecycle/oauth/oauth_mistake.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle::oauth {

// Null for what is no token, or not there.
using FindToken = std::function<const v1::OAuthSpec*(const std::string& name)>;

// The reference of `spec` that leads back to `name`, and by which way. A circle that `name` only
// leads to is the mistake of those on it.
std::optional<OAuthMistake> CheckCircle(const std::string& name, const v1::OAuthSpec& spec,
                                        const FindToken& find_token);

}  // namespace keyturn::lifecycle::oauth

// SPDX-License-Identifier: Apache-2.0
// From what a person writes about a token to all that holds for it: the preset's facts where the
// person states nothing, and parameters filled in. What is stored is the result, so another version
// of Keyturn with other facts changes nothing by itself. Expanding a result again changes nothing.
// Pure.
#pragma once

#include <optional>

#include "agent/lifecycle/oauth/oauth_mistake.h"
#include "agent/providers/presets.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle::oauth {

// After a mistake the specification is in no particular state.
std::optional<OAuthMistake> Expand(const providers::Presets& presets, v1::OAuthSpec& spec);

}  // namespace keyturn::lifecycle::oauth

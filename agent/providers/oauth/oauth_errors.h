// SPDX-License-Identifier: Apache-2.0
// The words with which servers refuse, sorted by what they mean for us. Pure.
#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "agent/providers/authorization_server.h"
#include "agent/providers/oauth/reply_body.h"

namespace keyturn::providers {

struct OAuthError {
  // kAmbiguous when the word is none that we know.
  TokenOutcome outcome = TokenOutcome::kAmbiguous;
  // The standard's word; empty when unknown. From our own vocabulary, never the remote's text.
  const char* code = "";
};

// `word` is that of an `error` member: the standards', or one of those that services in use say
// instead. `polling`: in the device grant, where slow_down belongs to the game.
OAuthError ErrorOf(absl::string_view word, bool polling);

// The first of the errors that the quirks describe and the reply says, whatever its status.
std::optional<OAuthError> QuirkError(const ReplyBody& body, const v1::OAuthQuirks& quirks,
                                     bool polling);

}  // namespace keyturn::providers

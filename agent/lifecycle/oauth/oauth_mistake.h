// SPDX-License-Identifier: Apache-2.0
// A mistake in the `oauth` part of a credential: where in it, and what is wrong, for whoever knows
// where in which file that part stands.
#pragma once

#include <string>
#include <vector>

namespace keyturn::lifecycle::oauth {

struct OAuthMistake {
  // From `oauth` on; empty: the part as a whole.
  std::vector<std::string> path;
  std::string message;
};

}  // namespace keyturn::lifecycle::oauth

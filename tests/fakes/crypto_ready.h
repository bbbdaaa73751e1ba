// SPDX-License-Identifier: Apache-2.0
// Included by a test that touches secrets or randomness: starts libsodium before main.
#pragma once

#include "agent/crypto/init.h"

namespace keyturn::fakes {

inline const bool crypto_ready = (crypto::Init(), true);

}  // namespace keyturn::fakes

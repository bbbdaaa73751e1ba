// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/init.h"

#include <sodium.h>

#include "agent/base/check.h"

namespace keyturn::crypto {

void Init() { KEYTURN_CHECK(sodium_init() >= 0, "libsodium cannot start"); }

}  // namespace keyturn::crypto

// SPDX-License-Identifier: Apache-2.0
// Must be called once, first thing in main and in test mains, before any secret or random is used.
#pragma once

namespace keyturn::crypto {

// Ends the process when libsodium cannot start (no source of randomness).
void Init();

}  // namespace keyturn::crypto

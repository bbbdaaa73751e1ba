// SPDX-License-Identifier: Apache-2.0
#include "agent/store/records.h"

namespace keyturn::store {

const char* VersionStateName(VersionState state) {
  switch (state) {
    case VersionState::kPending:
      return "pending";
    case VersionState::kCurrent:
      return "current";
    case VersionState::kRetiring:
      return "retiring";
    case VersionState::kRevoked:
      return "revoked";
    case VersionState::kFailed:
      return "failed";
  }
  return "unknown";
}

}  // namespace keyturn::store

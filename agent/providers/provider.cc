// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/provider.h"

namespace keyturn::providers {

const char* ProviderClassName(ProviderClass provider_class) {
  switch (provider_class) {
    case ProviderClass::kTagged:
      return "tagged";
    case ProviderClass::kUntagged:
      return "untagged";
    case ProviderClass::kListed:
      return "listed";
    case ProviderClass::kChosen:
      return "chosen";
    case ProviderClass::kDualSlot:
      return "dual_slot";
    case ProviderClass::kRoll:
      return "roll";
    case ProviderClass::kSelfRoll:
      return "self_roll";
    case ProviderClass::kManual:
      return "manual";
  }
  return "";
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/class_rules.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace keyturn::lifecycle {
namespace {

using providers::ProviderClass;

std::optional<BrokenRule> CheckRecovery(const v1::CredentialSpec& spec,
                                        const providers::Traits* recovery) {
  if (spec.recovery().empty() == !spec.accept_loss()) {
    return BrokenRule{
        "recovery",
        "a lost reply can lose a key of class self_roll: name the provider that makes "
        "the next one (`recovery: NAME`), or let a person store it then "
        "(`accept_loss: true`); exactly one of the two is needed"};
  }
  if (recovery == nullptr) return std::nullopt;
  switch (recovery->provider_class) {
    case ProviderClass::kTagged:
    case ProviderClass::kUntagged:
    case ProviderClass::kListed:
    case ProviderClass::kRoll:
      return std::nullopt;
    default:
      return BrokenRule{"recovery",
                        absl::StrCat("is of class ", ProviderClassName(recovery->provider_class),
                                     "; recovery needs a provider that can make or roll "
                                     "a key without the one that was lost: tagged, "
                                     "untagged, listed or roll")};
  }
}

}  // namespace

std::optional<BrokenRule> CheckClass(const v1::CredentialSpec& spec,
                                     const providers::Traits& traits,
                                     const providers::Traits* recovery) {
  const ProviderClass c = traits.provider_class;
  const bool ends_the_old = c == ProviderClass::kRoll || c == ProviderClass::kSelfRoll;
  const std::string of_class = absl::StrCat("the provider is of class ", ProviderClassName(c));
  if (ends_the_old && !spec.allow_gap()) {
    return BrokenRule{"allow_gap",
                      absl::StrCat(of_class,
                                   ": the old key dies in the moment the new one is made, "
                                   "and consumers that still use it fail until they ask "
                                   "again; accept that with `allow_gap: true`")};
  }
  if (spec.allow_gap() && !ends_the_old) {
    return BrokenRule{"allow_gap", absl::StrCat(of_class, ", which leaves no gap; remove it")};
  }
  if (c == ProviderClass::kSelfRoll) return CheckRecovery(spec, recovery);
  if (!spec.recovery().empty() || spec.accept_loss()) {
    return BrokenRule{spec.accept_loss() ? "accept_loss" : "recovery",
                      absl::StrCat(of_class, ", which loses no key; remove it")};
  }
  if (c == ProviderClass::kDualSlot && !spec.exclusive()) {
    return BrokenRule{"exclusive",
                      absl::StrCat(of_class,
                                   ": the slot that this credential does not use is "
                                   "regenerated; say with `exclusive: true` that nobody "
                                   "else uses it")};
  }
  return std::nullopt;
}

bool AccountsForKeys(const providers::Traits& traits) {
  switch (traits.provider_class) {
    case ProviderClass::kTagged:
    case ProviderClass::kUntagged:
    case ProviderClass::kListed:
    case ProviderClass::kChosen:
      return traits.can_list;
    default:
      return false;
  }
}

absl::Status CheckBroughtValue(const base::CredentialValue& value,
                               const providers::Traits& traits) {
  if (value.Primary() == nullptr) return absl::InvalidArgumentError("there is no value to store");
  const absl::string_view text = value.Primary()->Reveal();
  if (absl::StartsWithIgnoreCase(text, "bearer ")) {
    return absl::InvalidArgumentError(
        "the value begins with \"Bearer \", which belongs to the request header; give the key "
        "alone");
  }
  const bool odd = std::any_of(text.begin(), text.end(), [](char c) {
    return !absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (odd) {
    return absl::InvalidArgumentError(
        "the value holds spaces, line ends or characters that are not ASCII; copy the key alone");
  }
  if (absl::StrContains(text, "...") || absl::StrContains(text, "***")) {
    return absl::InvalidArgumentError(
        "the value is shortened (`...` or `***` in it); the whole key is shown only once, when it "
        "is "
        "made");
  }
  if (!absl::StartsWith(text, traits.value_prefix)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "keys of this provider begin with \"", traits.value_prefix, "\", and this value does not"));
  }
  if (text.size() < traits.value_min_length) {
    return absl::InvalidArgumentError(absl::StrCat("the value has ", text.size(),
                                                   " characters, and keys of this provider have at "
                                                   "least ",
                                                   traits.value_min_length, "; was it cut off?"));
  }
  if (traits.value_max_length > 0 && text.size() > traits.value_max_length) {
    return absl::InvalidArgumentError(absl::StrCat("the value has ", text.size(),
                                                   " characters, and keys of this provider have at "
                                                   "most ",
                                                   traits.value_max_length));
  }
  return absl::OkStatus();
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/books.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace keyturn::simulation {
namespace {

using fakes::FakeProvider;
using providers::ProviderClass;

using Found = std::optional<std::string>;

// The key of the current version is the one that is handed out, under the id the ledger has.
Found WrongCurrent(const Books& books) {
  for (const auto& version : books.described.versions()) {
    if (version.state() != "current") continue;
    for (const FakeProvider::Key& key : books.existing) {
      if (key.id == version.provider_key_id() && key.value == books.handed_out) return {};
    }
    return absl::StrCat("I2 the provider has no key ", version.provider_key_id(),
                        " with the value that is handed out");
  }
  return "there is no current version";
}

// Classes that make a key beside the old one: the keys of the ledger and no others.
Found Orphans(const Books& books) {
  std::set<std::string> known, existing;
  for (const auto& version : books.described.versions()) {
    const std::string& state = version.state();
    if (state == "current" || state == "retiring" || state == "pending") {
      known.insert(version.provider_key_id());
    }
  }
  for (const FakeProvider::Key& key : books.existing) {
    if (books.foreign.count(key.id) == 0) existing.insert(key.id);
  }
  if (existing == known) return {};
  return absl::StrCat("I2 the provider has ", existing.size(), " of our keys, the ledger knows ",
                      known.size());
}

// Slots are never empty: what is in the one that is not in use was never handed out, or has been
// replaced since.
Found UsedSlots(const Books& books) {
  for (const FakeProvider::Key& key : books.existing) {
    if (key.value != books.handed_out && books.given.count(key.value) != 0) {
      return absl::StrCat("I2 slot ", key.id, " still holds ", key.value,
                          ", which was handed out before");
    }
  }
  return {};
}

// A key that is replaced in place: there is one that Keyturn made, the one that is handed out, and
// for each loss one that nobody knows.
Found Rolled(const Books& books) {
  int unknown = 0;
  for (const FakeProvider::Key& key : books.existing) {
    unknown += key.value != books.handed_out && books.by_hand.count(key.value) == 0 ? 1 : 0;
  }
  const int allowed = books.provider_class == ProviderClass::kSelfRoll ? books.losses : 0;
  if (unknown <= allowed) return {};
  return absl::StrCat("I2 the provider has ", unknown, " of our keys beside the current one, and ",
                      allowed, " were lost");
}

// Persons make the keys, and the ones that have had their time are deactivated.
Found Manual(const Books& books) {
  if (books.creates != 0) return "a key was made at a provider of class manual";
  for (const auto& version : books.described.versions()) {
    const bool ended = version.state() == "revoked" && !version.provider_key_id().empty();
    const bool exists = std::any_of(
        books.existing.begin(), books.existing.end(),
        [&](const FakeProvider::Key& key) { return key.id == version.provider_key_id(); });
    if (ended && exists) {
      return absl::StrCat("I2 ", version.provider_key_id(), " lives on, and is said to be revoked");
    }
  }
  return {};
}

}  // namespace

Found Disagreement(const Books& books) {
  if (!books.described.rotation().state().empty()) {
    return absl::StrCat("a rotation is in state ", books.described.rotation().state());
  }
  if (Found wrong = WrongCurrent(books)) return wrong;
  switch (books.provider_class) {
    case ProviderClass::kDualSlot:
      return UsedSlots(books);
    case ProviderClass::kRoll:
    case ProviderClass::kSelfRoll:
      return Rolled(books);
    case ProviderClass::kManual:
      return Manual(books);
    default:
      return Orphans(books);
  }
}

}  // namespace keyturn::simulation

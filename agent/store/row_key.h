// SPDX-License-Identifier: Apache-2.0
// The keys of rows taken apart and put together (docs/formats/store.md, "Row keys"). The builders
// for callers are in store.h. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace keyturn::store {

// Kinds of records: the first segment of a key, and part of what a sealed row is tied to.
inline constexpr absl::string_view kProviderKind = "provider";
inline constexpr absl::string_view kPolicyKind = "policy";
inline constexpr absl::string_view kCredentialKind = "credential";
inline constexpr absl::string_view kVersionKind = "version";
inline constexpr absl::string_view kRotationKind = "rotation";
inline constexpr absl::string_view kTagKind = "tag";
inline constexpr absl::string_view kRefreshKind = "refresh";
inline constexpr absl::string_view kConsumersKind = "consumers";
inline constexpr absl::string_view kHistoryKind = "history";

// Rows of the store itself; no record has such a key.
inline constexpr absl::string_view kHeaderKey = "store/header";
inline constexpr absl::string_view kAgentKey = "store/agent";
inline constexpr absl::string_view kManifestKey = "store/manifest";

struct RowKey {
  absl::string_view kind;
  absl::string_view name;
  uint64_t number = 0;    // version and history
  absl::string_view tag;  // tag
};

// Views into `key`. Empty for a key that no builder makes.
std::optional<RowKey> ParseRowKey(absl::string_view key);

}  // namespace keyturn::store

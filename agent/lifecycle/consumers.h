// SPDX-License-Identifier: Apache-2.0
// Who uses which version of a credential, and whether a retiring one is still in use: the rules of
// docs/ROTATION.md ("Consumers"). A consumer is a process, named as WhoAmI names it. Where
// consumers cannot be told apart, they count as users of the old version: a key is kept too long
// rather than revoked too soon. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/store/records.h"

namespace keyturn::lifecycle {

// `principal` was given a version, or says that it uses it.
struct Delivery {
  std::string credential;
  std::string principal;  // empty: somebody, of whom nothing more is known
  uint64_t version = 0;
  absl::Time at = store::kNever;
  bool acknowledged = false;
};

inline constexpr size_t kConsumersMax = 200;
inline constexpr absl::Duration kConsumerGoneAfter = absl::Hours(24);

struct Holder {
  std::string principal;
  uint64_t version = 0;  // the one it counts as a user of
  absl::Time since = store::kNever;
  absl::Time last_given = store::kNever;
  bool acknowledged = false;
};

// Whether the process behind a principal has certainly ended.
using HasEnded = std::function<bool(absl::string_view principal)>;

// All that have not gone, by the version that each counts as a user of.
std::vector<Holder> HoldersOf(const store::ConsumersRecord& record, absl::Time now);
// Of these, the ones because of which `old_version` is to be kept.
std::vector<Holder> HoldersOf(const store::ConsumersRecord& record, uint64_t old_version,
                              uint64_t current_version, absl::Time now);
bool ConsumersMovedOn(const store::ConsumersRecord& record, uint64_t old_version,
                      uint64_t current_version, absl::Time now);

enum class RecordChange {
  kNone,
  kSeenAgain,  // nothing but the time of the last delivery
  kNews,       // another consumer, or another version
};

// Takes a delivery into the record, which holds at most kConsumersMax consumers and one entry for
// all others.
RecordChange Remember(store::ConsumersRecord& record, const Delivery& delivery);

// Drops consumers that have gone, and processes that have ended and have a successor: another
// process of their user that was given a value later, or the same one.
RecordChange Prune(store::ConsumersRecord& record, absl::Time now, const HasEnded& has_ended);

}  // namespace keyturn::lifecycle

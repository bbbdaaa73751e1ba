// SPDX-License-Identifier: Apache-2.0
// The names of states and endings, and the row that an attempt begins with.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "agent/lifecycle/rotation/state_machine.h"

namespace keyturn::lifecycle::rotation {
namespace {

// In the order of State.
constexpr absl::string_view kStateNames[] = {"checking", "sweeping", "creating", "reconcile",
                                             "minted",   "verified", "retiring", "revoking",
                                             "dying",    "aborting", "operator", "proving"};

}  // namespace

absl::string_view StateName(State state) { return kStateNames[static_cast<size_t>(state)]; }

State ParseState(absl::string_view name) {
  const auto* found = std::find(std::begin(kStateNames), std::end(kStateNames), name);
  KEYTURN_CHECK(found != std::end(kStateNames), "a rotation is in a state that does not exist");
  return static_cast<State>(found - std::begin(kStateNames));
}

absl::string_view EndingName(Ending ending) {
  switch (ending) {
    case Ending::kDone:
      return "succeeded";
    case Ending::kSwept:
      return "swept";
    case Ending::kRefused:
      return "refused";
    case Ending::kBlocked:
      return "blocked";
    case Ending::kUnavailable:
      return "unavailable";
    case Ending::kNothingCreated:
      return "nothing_created";
    case Ending::kAborted:
      return "aborted";
    case Ending::kUnproven:
      return "unproven";
    case Ending::kLost:
      return "lost";
  }
  return "aborted";
}

store::RotationRecord NewAttempt(std::string id, std::string credential, uint32_t attempt,
                                 absl::string_view agent_id, uint32_t tag_max_length) {
  store::RotationRecord record;
  record.tag =
      absl::StrCat("kt-", agent_id, "-", absl::string_view(id).substr(0, 12), "-", attempt);
  if (record.tag.size() > tag_max_length) {
    // The id comes before the attempt and is random: what is cut off is not needed to be unique.
    record.tag.resize(tag_max_length);
  }
  record.id = std::move(id);
  record.credential = std::move(credential);
  record.attempt = attempt;
  record.state = std::string(StateName(State::kChecking));
  return record;
}

}  // namespace keyturn::lifecycle::rotation

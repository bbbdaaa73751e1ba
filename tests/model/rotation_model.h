// SPDX-License-Identifier: Apache-2.0
// A small world around the real rotation::Advance: a provider with keys, messages on their way, one
// consumer, another administrator, and an agent that may die at any moment. What the engine does
// (commit, then effect; one effect at a time; Facts from what is stored) is written out here; what
// to do next is always asked of the transition function under test. Time is abstract: there is a
// moment before every deadline and one after. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "agent/lifecycle/rotation/state_machine.h"
#include "tests/model/explorer.h"

namespace keyturn::model {

namespace rotation = lifecycle::rotation;

// Keys are numbered from 1 in the order in which they were made, those that no longer matter left
// out; 0 is no key.
inline constexpr int kKeysMax = 12;
using KeySet = uint16_t;  // bit i: key i

// What the journal row says, small enough to keep millions of. Times are not kept: the moments at
// which they lie are part of the model.
struct Row {
  uint8_t state = 0;
  uint8_t attempt = 0;  // the tag is kt-<attempt>
  uint8_t new_key = 0;
  uint8_t old_key = 0;
  bool has_old = false;
  bool has_new = false;
  bool sent = false;
  uint8_t clean_lists = 0;
  uint8_t step_failures = 0;
  KeySet seen_before = 0;
  std::array<uint8_t, 6> abort_ids = {};
};

// What the agent waits for.
enum class Awaited : uint8_t { kNothing, kCreate, kList, kVerifyNew, kVerifyOld, kRevoke, kDue };

// What an agent has read, kept once another agent's commit has made it old.
struct View {
  uint8_t current = 0;
  uint8_t retiring = 0;
  uint8_t pending = 0;
  uint8_t row_key = 0;      // the new key of the open row
  uint8_t closed_tags = 0;  // bit: attempt
  bool has_row = false;
};

// One agent's memory: what is lost in a crash.
struct Agent {
  bool up = true;
  bool running = false;
  bool sweep_only = false;
  Row row;
  Awaited awaited = Awaited::kNothing;
  uint8_t revoking = 0;
  // Whether it goes by `view`, because another agent has committed since it read or wrote; else it
  // goes by what is stored.
  bool stale = false;
  View view;
};

// The world as one of the agents sees it, whose turn it is; `other` is nobody when there is one.
struct World : Agent {
  // The provider.
  KeySet alive = 0;
  KeySet usable = 0;  // has spread everywhere
  std::array<uint8_t, kKeysMax> tags = {};
  uint8_t made = 0;
  uint8_t foreign = 0;
  // On their way. Creates by attempt, deletes by key.
  uint8_t creates = 0;
  KeySet deletes = 0;
  // What is stored.
  uint8_t current = 0;
  uint8_t retiring = 0;
  uint8_t pending = 0;
  uint8_t closed_tags = 0;  // bit: attempt
  bool has_row = false;
  Row stored;
  bool has_other = false;
  Agent other;
  // The consumer, and whether the grace of the retiring key is over.
  uint8_t consumer = 0;
  bool grace_over = false;
  // Has the list been found in order since something last happened at the provider?
  bool swept = false;
  // What may still go wrong.
  uint8_t attempts = 0;
  uint8_t crashes = 0;
  uint8_t duplicates = 0;
  uint8_t faults = 0;
  bool rotated = false;  // some key was promoted
  // Set once: what must never happen.
  uint8_t violation = 0;
};

using AdvanceFunction =
    std::function<rotation::Step(store::RotationRecord, const rotation::Event&, rotation::Facts)>;

// What the store compares before it takes an agent's commit: every step of a rotation writes its
// row and its credential's row, so that is whether anything about the credential has changed.
enum class Guard : uint8_t { kCredential, kRowAlone, kNothing };

struct Setting {
  std::string name;
  providers::ProviderClass provider_class = providers::ProviderClass::kTagged;
  bool exclusive = false;
  bool first_key = false;  // start without any key
  uint32_t key_limit = 3;
  bool cached = false;   // deleted keys go on working for a while: state dying
  bool late = false;     // effects may come after the settle time
  bool foreign = false;  // another administrator makes a key at any moment
  uint8_t attempts = 3;
  uint8_t crashes = 2;
  uint8_t duplicates = 0;
  uint8_t faults = 1;
  bool second_agent = false;  // on the same store, which its lock should prevent
  Guard guard = Guard::kCredential;
  // The function under test, or a mutant of it.
  AdvanceFunction advance;
};

void PrintTo(const Setting& setting, std::ostream* out);

struct Move {
  const char* what;
  Fate fate;
  World next;
};

// For Explore.
class RotationModel {
 public:
  using World = model::World;

  explicit RotationModel(const Setting& setting) : setting_(setting) {}
  World First() const;
  std::vector<Move> MovesFrom(const World& world) const;
  // Empty when all invariants hold.
  std::string ViolationIn(const World& world) const;
  // Nothing under way, and the provider's keys are exactly the ones that are known.
  bool IsClean(const World& world) const;
  // One line for a trace.
  std::string Describe(const World& world) const;
  // Two worlds with the same text are the same.
  std::string Packed(const World& world) const;

 private:
  const Setting& setting_;
};

}  // namespace keyturn::model

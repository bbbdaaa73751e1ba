// SPDX-License-Identifier: Apache-2.0
// A small world around the real rotation::Advance for the classes that put values into places:
// chosen (a secret of ours, in a place of its own or in one of two), dual_slot (one of two slots is
// regenerated), roll and self_roll (the one place there is), manual (a person makes the keys).
// A world holds what is in each place, the messages on their way, what is stored, what the agent
// has in memory, and one consumer. Time is abstract, as in rotation_model.h. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "tests/model/explorer.h"
#include "tests/model/rotation_model.h"

namespace keyturn::model::places {

// Values are numbered from 1 in the order in which they were made, places likewise; 0 is none.
inline constexpr int kValuesMax = 14;

struct PlacesSetting {
  std::string name;
  providers::ProviderClass provider_class = providers::ProviderClass::kChosen;
  // Each value has a place (an id) of its own, as Redis passwords and GitLab tokens have; otherwise
  // there are two places for chosen and dual_slot, and one for roll and self_roll.
  bool own_places = false;
  bool can_list = false;
  // Effects may come after the settle time, or twice. Classes that reuse places then serve a dead
  // value until the next look at the places; the model asks only that it heals.
  bool late = false;
  uint8_t duplicates = 0;
  size_t mail_max = 5;
  uint8_t attempts = 3;
  uint8_t crashes = 2;
  uint8_t faults = 1;
  bool undo = false;       // a person takes a rotation back, once
  bool consumers = false;  // the grace waits for the consumer
  bool recovers = false;   // self_roll: a second principal makes the next key after a loss
  AdvanceFunction advance;
};
void PrintTo(const PlacesSetting& setting, std::ostream* out);

class PlacesModel {
 public:
  struct Row {
    uint8_t state = 0;
    uint8_t attempt = 0;
    uint8_t new_place = 0;
    uint8_t old_place = 0;
    uint8_t target = 0;
    uint8_t before = 0;  // what the target held
    uint8_t chosen = 0;  // the secret that is being set
    uint8_t old_value = 0;
    uint8_t new_value = 0;
    uint8_t creates = 0;
    uint8_t clean_lists = 0;
    uint8_t step_failures = 0;
    std::array<uint8_t, 4> abort_places = {};
    bool sent = false;
    uint16_t seen_places = 0;
  };
  struct Message {
    enum Kind : uint8_t { kNone, kCreate, kRevoke };
    Kind kind = kNone;
    uint8_t place = 0;  // create: the target; revoke: what to empty
    uint8_t value = 0;  // create: the secret, or the value that replaces itself
    bool awaited = false;
    bool operator==(const Message& o) const {
      return kind == o.kind && place == o.place && value == o.value && awaited == o.awaited;
    }
  };
  struct World {
    std::array<uint8_t, kValuesMax> content = {};  // by place
    uint16_t usable = 0;                           // values that have spread
    std::array<Message, 5> mail = {};
    // Stored.
    uint8_t current = 0, current_place = 0;
    uint8_t retiring = 0, retiring_place = 0;
    uint8_t pending = 0, pending_place = 0;
    uint16_t ended_places = 0;
    bool has_row = false;
    Row stored;
    // In memory.
    bool up = true;
    bool running = false;
    bool sweep_only = false;
    Row row;
    Awaited awaited = Awaited::kNothing;
    // Around it.
    uint8_t consumer = 0;
    bool grace_over = false;
    bool looked = true;  // the places were found in order since something last happened there
    uint8_t attempts = 0, crashes = 0, duplicates = 0, faults = 0, undone = 0;
    bool rotated = false;
    bool lost = false;  // self_roll: nothing is left to hand out
    uint8_t violation = 0;
  };
  struct Move {
    const char* what;
    Fate fate;
    World next;
  };

  explicit PlacesModel(const PlacesSetting& setting) : setting_(setting) {}
  World First() const;
  std::vector<Move> MovesFrom(const World& world) const;
  std::string ViolationIn(const World& world) const;
  bool IsClean(const World& world) const;
  std::string Describe(const World& world) const;
  std::string Packed(const World& world) const;

 private:
  const PlacesSetting& setting_;
};

}  // namespace keyturn::model::places

// SPDX-License-Identifier: Apache-2.0
// The classes that put values into places, against every crash, loss, delay and repetition that
// fits in the model; and mutants, each of which must be found out.
#include "tests/model/places_model.h"

#include <gtest/gtest.h>

#include <iostream>
#include <string>

namespace keyturn::model::places {
namespace {

using providers::Outcome;
using providers::ProviderClass;
using rotation::Facts;
using rotation::State;
using rotation::Step;
using store::RotationRecord;

Step Real(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  return rotation::Advance(std::move(record), event, facts);
}
State StateOf(const RotationRecord& record) { return rotation::ParseState(record.state); }

PlacesSetting Of(std::string name, ProviderClass provider_class) {
  PlacesSetting setting;
  setting.name = std::move(name);
  setting.provider_class = provider_class;
  setting.advance = Real;
  return setting;
}
PlacesSetting Chosen() {
  PlacesSetting setting = Of("chosen, each secret beside the other", ProviderClass::kChosen);
  setting.own_places = true;
  return setting;
}
PlacesSetting ChosenListed() {
  PlacesSetting setting = Chosen();
  setting.name = "chosen, listed, late and repeated effects";
  setting.can_list = true;
  setting.late = true;
  setting.duplicates = 1;
  setting.attempts = 2;
  setting.crashes = 1;
  setting.mail_max = 3;
  return setting;
}
PlacesSetting ChosenRoles() { return Of("chosen, two places", ProviderClass::kChosen); }
PlacesSetting DualSlot() { return Of("dual slot", ProviderClass::kDualSlot); }
PlacesSetting DualSlotLate() {
  PlacesSetting setting = DualSlot();
  setting.name = "dual slot, late and repeated effects heal";
  setting.late = true;
  setting.duplicates = 1;
  setting.attempts = 2;
  setting.crashes = 1;
  setting.faults = 0;
  setting.mail_max = 2;
  return setting;
}
PlacesSetting Roll() {
  PlacesSetting setting = Of("roll", ProviderClass::kRoll);
  setting.duplicates = 1;
  return setting;
}
PlacesSetting RollRenamed() {
  PlacesSetting setting = Of("roll, with a new id each time", ProviderClass::kRoll);
  setting.own_places = setting.can_list = true;
  return setting;
}
PlacesSetting SelfRoll() { return Of("self roll", ProviderClass::kSelfRoll); }
PlacesSetting SelfRollLate() {
  PlacesSetting setting = SelfRoll();
  setting.name = "self roll, late and repeated effects";
  setting.late = true;
  setting.duplicates = 1;
  setting.attempts = 2;
  setting.crashes = 1;
  setting.faults = 0;
  setting.mail_max = 2;
  return setting;
}
PlacesSetting Manual() {
  PlacesSetting setting = Of("manual", ProviderClass::kManual);
  setting.own_places = true;
  return setting;
}
PlacesSetting Undone() {
  PlacesSetting setting = Chosen();
  setting.name = "undone by a person";
  setting.undo = true;
  setting.attempts = 2;
  return setting;
}
PlacesSetting Consumers() {
  PlacesSetting setting = Chosen();
  setting.name = "the grace waits for the consumer";
  setting.consumers = setting.undo = true;
  setting.attempts = 2;
  return setting;
}

class Holds : public testing::TestWithParam<PlacesSetting> {};

TEST_P(Holds, InEveryStateAndACleanStateCanBeReached) {
  const Verdict verdict = Explore(PlacesModel(GetParam()));
  std::cout << GetParam().name << ": " << verdict.states << " states\n";
  EXPECT_EQ(verdict.violation, "") << verdict.ToString();
  EXPECT_GT(verdict.rotated, 0u) << "no rotation ever ends";
}

std::string NameOf(const std::string& text) {
  std::string name;
  for (char c : text) name += isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Places, Holds,
                         testing::Values(Chosen(), ChosenListed(), ChosenRoles(), DualSlot(),
                                         DualSlotLate(), Roll(), RollRenamed(), SelfRoll(),
                                         SelfRollLate(), Manual(), Undone(), Consumers()),
                         [](const auto& each) { return NameOf(each.param.name); });

struct Mutant {
  std::string name;
  PlacesSetting setting;
  std::string found;  // part of the violation that gives it away
};

Mutant Of(std::string name, PlacesSetting setting, AdvanceFunction advance, std::string found) {
  setting.advance = std::move(advance);
  return {std::move(name), std::move(setting), std::move(found)};
}

void PrintTo(const Mutant& mutant, std::ostream* out) { *out << mutant.name; }

class IsCaught : public testing::TestWithParam<Mutant> {};

TEST_P(IsCaught, ByAViolation) {
  const Verdict verdict = Explore(PlacesModel(GetParam().setting));
  std::cout << GetParam().name << ": " << verdict.violation << "\n";
  EXPECT_NE(verdict.violation.find(GetParam().found), std::string::npos) << verdict.ToString();
}

Step RegenerateTheOneInUse(RotationRecord record, const rotation::Event& event,
                           const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (std::holds_alternative<rotation::CallCreate>(step.effect)) {
    step.record.target = step.record.old_key_id;
  }
  return step;
}

// As a class that mints keys would: after an unknown outcome the row is closed.
Step ForgetTheSecret(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (StateOf(step.record) != State::kReconcile) return step;
  step.effect = rotation::Close{rotation::Ending::kNothingCreated, "", 0, {}, {}};
  return step;
}

Step ChooseAnotherSecretEachTime(RotationRecord record, const rotation::Event& event,
                                 const Facts& facts) {
  if (StateOf(record) == State::kReconcile) record.new_value = {};
  return Real(std::move(record), event, facts);
}

Step DoNotAskTheOldKey(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (!std::holds_alternative<rotation::CallVerifyOld>(step.effect)) return step;
  step.record.state = std::string(rotation::StateName(State::kCreating));
  step.journal = true;
  step.effect = rotation::CallCreate{};
  return step;
}

Step SkipVerify(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (!std::holds_alternative<rotation::CallVerifyNew>(step.effect)) return step;
  step.record.state = std::string(rotation::StateName(State::kVerified));
  step.effect = rotation::Proceed{};
  return step;
}

Step DoNotWaitForConsumers(RotationRecord record, const rotation::Event& event, Facts facts) {
  facts.consumers_hold = false;
  return Real(std::move(record), event, facts);
}

Step UndoWithoutGrace(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (step.version != rotation::VersionChange::kSwap) return step;
  step.effect = rotation::CallRevoke{step.record.old_key_id};
  return step;
}

Step UndoForgetsToSwapTheIds(RotationRecord record, const rotation::Event& event,
                             const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (step.version == rotation::VersionChange::kSwap) {
    std::swap(step.record.old_key_id, step.record.new_key_id);
  }
  return step;
}

// A revoke that was under way when the process ended is sent again at once, and the next rotation
// may fill the place before the first one arrives.
Step RevokeAtOnceAfterARestart(RotationRecord record, const rotation::Event& event,
                               const Facts& facts) {
  const bool revoking = StateOf(record) == State::kRevoking;
  Step step = Real(std::move(record), event, facts);
  if (revoking && std::holds_alternative<rotation::Restarted>(event)) {
    step.effect = rotation::CallRevoke{step.record.old_key_id};
  }
  return step;
}

Step GiveUpRolling(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  if (StateOf(record) != State::kReconcile) return Real(std::move(record), event, facts);
  Step step;
  step.record = std::move(record);
  step.effect = rotation::Wait{};
  return step;
}

INSTANTIATE_TEST_SUITE_P(
    Mutant, IsCaught,
    testing::Values(
        Of("regenerates the slot in use", DualSlot(), RegenerateTheOneInUse, "I"),
        Of("forgets the chosen secret", Chosen(), ForgetTheSecret, "I2"),
        Of("chooses another secret each time", Chosen(), ChooseAnotherSecretEachTime, "I2"),
        Of("does not ask the old key", SelfRoll(), DoNotAskTheOldKey, "used again"),
        Of("hands out what a person mistyped", Manual(), SkipVerify, "I3"),
        Of("does not wait for consumers", Consumers(), DoNotWaitForConsumers, "I1"),
        Of("takes back without a grace", Undone(), UndoWithoutGrace, "I1"),
        Of("takes back and revokes the wrong one", Undone(), UndoForgetsToSwapTheIds, "I"),
        Of("revokes a slot at once after a restart", DualSlot(), RevokeAtOnceAfterARestart, "I"),
        Of("stops rolling after a lost reply", Roll(), GiveUpRolling, "no way to a clean state")),
    [](const auto& each) { return NameOf(each.param.name); });

}  // namespace
}  // namespace keyturn::model::places

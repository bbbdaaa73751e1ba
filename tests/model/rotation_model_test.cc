// SPDX-License-Identifier: Apache-2.0
// The rotation's transition function against every crash, loss, delay and repetition that fits in
// the model, for each class of provider; and mutants of it, each of which must be found out, or the
// model would prove nothing.
#include <gtest/gtest.h>

#include <iostream>
#include <string>

#include "tests/model/rotation_model.h"

namespace keyturn::model {

void PrintTo(const Setting& setting, std::ostream* out) { *out << setting.name; }

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
void Enter(Step& step, State state) { step.record.state = std::string(rotation::StateName(state)); }

Setting Tagged() {
  Setting setting;
  setting.name = "tagged";
  setting.late = true;
  setting.duplicates = 1;
  setting.key_limit = 4;
  setting.advance = Real;
  return setting;
}
Setting TaggedWithForeign() {
  Setting setting = Tagged();
  setting.name = "tagged, another administrator";
  setting.foreign = true;
  setting.duplicates = 0;
  setting.crashes = 1;
  return setting;
}
Setting TaggedTight() {
  Setting setting = Tagged();
  setting.name = "tagged, room for two";
  setting.key_limit = 2;
  setting.cached = true;
  return setting;
}
Setting FirstKey() {
  Setting setting = Tagged();
  setting.name = "tagged, no key yet";
  setting.first_key = true;
  setting.attempts = 2;
  return setting;
}
Setting UntaggedExclusive() {
  Setting setting = Tagged();
  setting.name = "untagged, exclusive";
  setting.provider_class = ProviderClass::kUntagged;
  setting.exclusive = true;
  return setting;
}
Setting ListedExclusive() {
  Setting setting = UntaggedExclusive();
  setting.name = "listed, exclusive";
  setting.provider_class = ProviderClass::kListed;
  return setting;
}
// Effects after the settle time and repeated creates leave keys here that nobody may delete: the
// alert UNKNOWN_KEY is all that can be done, so the model keeps to the settle time.
Setting ListedShared() {
  Setting setting = ListedExclusive();
  setting.name = "listed, shared";
  setting.exclusive = false;
  setting.foreign = true;
  setting.late = false;
  setting.duplicates = 0;
  return setting;
}
Setting UntaggedShared() {
  Setting setting = ListedShared();
  setting.name = "untagged, shared";
  setting.provider_class = ProviderClass::kUntagged;
  return setting;
}

// What the store's lock prevents: two agents on one store, each with a memory of its own.
Setting TwoAgents(Setting setting) {
  setting.name += ", two agents";
  setting.second_agent = true;
  setting.attempts = 2;
  setting.crashes = 1;
  setting.duplicates = 0;
  setting.faults = 0;
  return setting;
}

class Holds : public testing::TestWithParam<Setting> {};

TEST_P(Holds, InEveryStateAndACleanStateCanBeReached) {
  const Verdict verdict = Explore(RotationModel(GetParam()));
  std::cout << GetParam().name << ": " << verdict.states << " states\n";
  EXPECT_EQ(verdict.violation, "") << verdict.ToString();
  EXPECT_GT(verdict.rotated, 0u) << "no rotation ever ends";
}

std::string NameOf(const std::string& text) {
  std::string name;
  for (char c : text) name += isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Rotation, Holds,
                         testing::Values(Tagged(), TaggedWithForeign(), TaggedTight(), FirstKey(),
                                         UntaggedExclusive(), ListedExclusive(), ListedShared(),
                                         UntaggedShared(), TwoAgents(Tagged()),
                                         TwoAgents(ListedExclusive())),
                         [](const auto& each) { return NameOf(each.param.name); });

struct Mutant {
  std::string name;
  Setting setting;
  std::string found;  // part of the violation that gives it away
};

Mutant Of(std::string name, Setting setting, AdvanceFunction advance, std::string found) {
  setting.advance = std::move(advance);
  return {std::move(name), std::move(setting), std::move(found)};
}

void PrintTo(const Mutant& mutant, std::ostream* out) { *out << mutant.name; }

class IsCaught : public testing::TestWithParam<Mutant> {};

TEST_P(IsCaught, ByAViolation) {
  const Verdict verdict = Explore(RotationModel(GetParam().setting));
  std::cout << GetParam().name << ": " << verdict.violation << "\n";
  EXPECT_NE(verdict.violation.find(GetParam().found), std::string::npos) << verdict.ToString();
}

Step SkipVerify(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (!std::holds_alternative<rotation::CallVerifyNew>(step.effect)) return step;
  Enter(step, State::kVerified);
  step.effect = rotation::Proceed{};
  return step;
}

Step NoGrace(RotationRecord record, const rotation::Event& event, Facts facts) {
  facts.grace_over = true;
  return Real(std::move(record), event, facts);
}

Step BlindRetry(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (StateOf(step.record) != State::kReconcile) return step;
  Enter(step, State::kCreating);
  step.effect = rotation::CallCreate{};
  return step;
}

Step CloseWithoutListing(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (StateOf(step.record) != State::kReconcile) return step;
  if (!std::holds_alternative<rotation::CallList>(step.effect)) return step;
  step.effect = rotation::Close{rotation::Ending::kNothingCreated, "", 0, {}, {}};
  return step;
}

Step DeleteTheFirst(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(std::move(record), event, facts);
  if (std::holds_alternative<rotation::CallRevoke>(step.effect) && !facts.known_ids.empty()) {
    step.effect = rotation::CallRevoke{*facts.known_ids.begin()};
  }
  return step;
}

Step NoSweep(RotationRecord record, const rotation::Event& event, Facts facts) {
  if (StateOf(record) == State::kChecking) facts.our_tags.clear();
  return Real(std::move(record), event, facts);
}

Step ForgetClosedTags(RotationRecord record, const rotation::Event& event, Facts facts) {
  facts.our_tags = {record.tag};
  return Real(std::move(record), event, facts);
}

Step AllUnknownAreOurs(RotationRecord record, const rotation::Event& event, Facts facts) {
  facts.exclusive = true;
  return Real(std::move(record), event, facts);
}

Step RevokeBeforePromote(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  const bool verified = StateOf(record) == State::kVerified;
  Step step = Real(std::move(record), event, facts);
  if (!verified || step.version != rotation::VersionChange::kPromote) return step;
  if (!step.record.old_key_id.empty()) {
    step.effect = rotation::CallRevoke{step.record.old_key_id};
  }
  return step;
}

Step TrustATimeout(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  const auto* revoked = std::get_if<rotation::RevokeReplied>(&event);
  if (StateOf(record) != State::kRevoking || revoked == nullptr) {
    return Real(std::move(record), event, facts);
  }
  Step step;
  step.record = std::move(record);
  step.journal = true;
  step.version = rotation::VersionChange::kRevokeOld;
  step.effect = rotation::Close{};
  return step;
}

// After a restart it waits for a reply that will never come.
Step NeverResume(RotationRecord record, const rotation::Event& event, const Facts& facts) {
  Step step = Real(record, event, facts);
  if (StateOf(record) != State::kRevoking) return step;
  if (std::holds_alternative<rotation::Restarted>(event)) step.effect = rotation::Wait{};
  if (std::holds_alternative<rotation::Due>(event)) step.effect = rotation::Wait{};
  return step;
}

Setting SettleTooShort() {
  Setting setting = ListedShared();
  setting.late = true;
  return setting;
}

// As if the store compared less of what an agent goes by.
Setting Guarded(Guard guard, Setting setting) {
  setting.guard = guard;
  return setting;
}

INSTANTIATE_TEST_SUITE_P(
    Mutant, IsCaught,
    testing::Values(
        Of("skips verify", Tagged(), SkipVerify, "I1"), Of("no grace", Tagged(), NoGrace, "I1"),
        Of("creates again blindly", ListedShared(), BlindRetry, "I2"),
        Of("closes without listing", ListedShared(), CloseWithoutListing, "I2"),
        Of("deletes the first key", Tagged(), DeleteTheFirst, "I1"),
        Of("no sweep", Tagged(), NoSweep, "I2"),
        Of("forgets closed tags", Tagged(), ForgetClosedTags, "I2"),
        Of("takes unknown keys for its own", ListedShared(), AllUnknownAreOurs, "somebody else"),
        Of("revokes before it promotes", Tagged(), RevokeBeforePromote, "I1"),
        Of("believes a delete without a reply", Tagged(), TrustATimeout, "I2"),
        Of("never resumes a revoke", TaggedTight(), NeverResume, "no way to a clean state"),
        Of("settle time too short", SettleTooShort(), Real, "I2"),
        Of("commits without the guard", Guarded(Guard::kNothing, TwoAgents(Tagged())), Real, "I5"),
        Of("guards the row of the rotation alone",
           Guarded(Guard::kRowAlone, TwoAgents(ListedExclusive())), Real, "I5")),
    [](const auto& each) { return NameOf(each.param.name); });

}  // namespace
}  // namespace keyturn::model

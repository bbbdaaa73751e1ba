// SPDX-License-Identifier: Apache-2.0
#include "tests/model/places_model.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::model::places {
namespace {

using providers::Outcome;
using providers::ProviderClass;
using rotation::State;
using World = PlacesModel::World;
using Row = PlacesModel::Row;
using Message = PlacesModel::Message;
using Move = PlacesModel::Move;

const absl::Time kBefore = absl::FromUnixSeconds(1'000'000);
const absl::Time kDeadline = kBefore + absl::Hours(1);
const absl::Time kAfter = kBefore + absl::Hours(2);

enum Violation : uint8_t { kFine, kForgotValue, kUsedTwice };

uint16_t Bit(int i) { return static_cast<uint16_t>(1u << i); }
std::string PlaceId(int place) { return place == 0 ? "" : absl::StrCat("p", place); }
uint8_t Number(absl::string_view text) {
  int number = 0;
  if (text.empty()) return 0;
  KEYTURN_CHECK(absl::SimpleAtoi(text.substr(1), &number), "a name of the model");
  return static_cast<uint8_t>(number);
}
base::CredentialValue ValueOf(int value) {
  return value == 0 ? base::CredentialValue()
                    : base::CredentialValue::Of(base::Secret(absl::StrCat("v", value)));
}
uint8_t NumberOf(const base::CredentialValue& value) {
  return value.Primary() == nullptr ? uint8_t{0} : Number(value.Primary()->Reveal());
}

// Some place holds it.
bool Alive(const World& world, uint8_t value) {
  return value != 0 &&
         std::find(world.content.begin(), world.content.end(), value) != world.content.end();
}
bool Usable(const World& world, uint8_t value) {
  return Alive(world, value) && (world.usable & Bit(value)) != 0;
}

// Values are handed out in order; those that no one can name any more are given out again.
uint8_t Fresh(const World& world) {
  uint16_t named = 0;
  const auto name = [&named](uint8_t value) { named |= Bit(value); };
  for (uint8_t value : world.content) name(value);
  for (const Message& m : world.mail) name(m.value), name(m.place);
  for (const Row* row : {&world.row, &world.stored}) {
    for (uint8_t v : {row->before, row->chosen, row->old_value, row->new_value, row->new_place,
                      row->old_place, row->target}) {
      name(v);
    }
    for (uint8_t place : row->abort_places) name(place);
    named |= row->seen_places;
  }
  for (uint8_t v : {world.current, world.retiring, world.pending, world.consumer}) name(v);
  for (int value = 3; value < kValuesMax; ++value) {
    if ((named & Bit(value)) == 0) return static_cast<uint8_t>(value);
  }
  KEYTURN_CHECK(false, "the model has too few values");
  return 0;
}

store::RotationRecord ToRecord(const Row& row) {
  store::RotationRecord record;
  record.id = "r";
  record.credential = "c";
  record.state = std::string(rotation::StateName(static_cast<State>(row.state)));
  record.attempt = row.attempt;
  record.tag = "kt";
  record.new_key_id = PlaceId(row.new_place);
  record.old_key_id = PlaceId(row.old_place);
  record.target = PlaceId(row.target);
  if (row.before != 0) record.target_before = *ValueOf(row.before).Primary();
  record.new_value = ValueOf(row.chosen);
  record.old_version = row.old_value == 0 ? 0 : 10 + row.old_value;
  record.new_version = row.new_value == 0 ? 0 : 10 + row.new_value;
  record.creates = row.creates;
  record.clean_lists = row.clean_lists;
  record.step_failures = row.step_failures;
  if (row.sent) record.sent_at = kBefore;
  record.settle_until = record.verify_until = record.grace_until = kDeadline;
  record.dead_by = record.grace_max = kDeadline;
  for (int place = 1; place < kValuesMax; ++place) {
    if ((row.seen_places & Bit(place)) != 0) record.seen_before.push_back(PlaceId(place));
  }
  for (uint8_t place : row.abort_places) {
    if (place != 0) record.abort_ids.push_back(PlaceId(place));
  }
  return record;
}

Row ToRow(const store::RotationRecord& record) {
  Row row;
  row.state = static_cast<uint8_t>(rotation::ParseState(record.state));
  row.attempt = static_cast<uint8_t>(record.attempt);
  row.new_place = Number(record.new_key_id);
  row.old_place = Number(record.old_key_id);
  row.target = Number(record.target);
  row.before = Number(record.target_before.Reveal());
  row.chosen = NumberOf(record.new_value);
  row.old_value = static_cast<uint8_t>(record.old_version == 0 ? 0 : record.old_version - 10);
  row.new_value = static_cast<uint8_t>(record.new_version == 0 ? 0 : record.new_version - 10);
  row.creates = static_cast<uint8_t>(std::min(record.creates, 3u));
  row.clean_lists = static_cast<uint8_t>(record.clean_lists);
  row.step_failures = static_cast<uint8_t>(std::min(record.step_failures, 4u));
  row.sent = record.sent_at != store::kNever;
  for (const std::string& id : record.seen_before) row.seen_places |= Bit(Number(id));
  KEYTURN_CHECK(record.abort_ids.size() <= row.abort_places.size(),
                "the model's rows are too small");
  for (size_t i = 0; i < record.abort_ids.size(); ++i) {
    row.abort_places[i] = Number(record.abort_ids[i]);
  }
  return row;
}

class Mover {
 public:
  Mover(const PlacesSetting& setting, const World& world) : setting_(setting), world_(world) {}
  std::vector<Move> All();

 private:
  bool Is(ProviderClass c) const { return setting_.provider_class == c; }
  void Add(const char* what, Fate fate, World next) {
    std::sort(next.mail.begin(), next.mail.end(), [](const Message& a, const Message& b) {
      return std::tie(b.kind, a.place, a.value, a.awaited) <
             std::tie(a.kind, b.place, b.value, b.awaited);
    });
    // Only what can be asked for matters.
    uint16_t held = 0;
    for (uint8_t v : {next.current, next.retiring, next.pending, next.consumer}) held |= Bit(v);
    next.usable &= held;
    uint16_t seen = 0;
    for (size_t place = 1; place < next.content.size(); ++place) {
      if (next.content[place] != 0) seen |= Bit(static_cast<int>(place));
    }
    for (const Message& m : next.mail) seen |= static_cast<uint16_t>(Bit(m.value) | Bit(m.place));
    next.ended_places &= seen;
    moves_.push_back({what, fate, std::move(next)});
  }
  void Arrives(size_t index);
  void Surroundings();
  void Begin();
  void Replies();
  void VerifyReplies(bool of_new);

  World Take(World world, const rotation::Event& event, absl::Time now) const;
  rotation::Facts FactsFor(const World& world, absl::Time now) const;
  void Commit(World& world, rotation::Step& step) const;
  void Perform(World& world, const rotation::Step& step) const;
  void Post(World& world, Message message) const;
  // The effect of a create; nullopt: refused.
  std::optional<providers::MintedKey> Make(World& world, const Message& message) const;
  void Empty(World& world, uint8_t place) const;
  std::vector<providers::ListedKey> Listed(const World& world) const;
  uint8_t Put(World& world, uint8_t place, uint8_t value) const;
  bool OnTheirWay(Message::Kind kind) const;

  const PlacesSetting& setting_;
  const World& world_;
  std::vector<Move> moves_;
};

rotation::Facts Mover::FactsFor(const World& world, absl::Time now) const {
  rotation::Facts facts;
  facts.now = now;
  facts.traits.provider_class = setting_.provider_class;
  facts.traits.settle = facts.traits.propagation = kDeadline - kBefore;
  facts.traits.can_list = setting_.can_list || Is(ProviderClass::kDualSlot);
  if (Is(ProviderClass::kDualSlot)) facts.traits.slots = {"p1", "p2"};
  facts.allow_gap = true;
  facts.sweep_only = world.sweep_only;
  for (uint8_t place : {world.current_place, world.retiring_place, world.pending_place}) {
    if (place != 0) facts.known_ids.insert(PlaceId(place));
  }
  if (world.has_row && world.stored.new_place != 0) {
    facts.known_ids.insert(PlaceId(world.stored.new_place));
  }
  for (int place = 1; place < kValuesMax; ++place) {
    if ((world.ended_places & Bit(place)) != 0) facts.our_ids.insert(PlaceId(place));
  }
  facts.our_tags.insert("kt");
  facts.current_value = ValueOf(world.current);
  facts.old_value = ValueOf(world.row.old_value != 0 && (world.row.old_value == world.current ||
                                                         world.row.old_value == world.retiring)
                                ? world.row.old_value
                                : 0);
  if (Is(ProviderClass::kChosen)) facts.fresh_secret = *ValueOf(Fresh(world)).Primary();
  facts.grace = absl::Minutes(5);
  facts.grace_over = world.grace_over;
  if (setting_.consumers) {
    facts.grace_max = absl::Hours(5);
    facts.consumers_hold = world.consumer != world.current;
  }
  return facts;
}

World Mover::Take(World world, const rotation::Event& event, absl::Time now) const {
  rotation::Step step = setting_.advance(ToRecord(world.row), event, FactsFor(world, now));
  if (step.journal || std::holds_alternative<rotation::Close>(step.effect)) Commit(world, step);
  Perform(world, step);
  return world;
}

// What journal.cc writes. Version numbers are the values' own, so that two rows are the same when
// they mean the same.
void Mover::Commit(World& world, rotation::Step& step) const {
  store::RotationRecord& record = step.record;
  const uint8_t minted = NumberOf(record.new_value);
  switch (step.version) {
    case rotation::VersionChange::kNone:
      break;
    case rotation::VersionChange::kMint:
      world.pending = minted;
      world.pending_place = Number(record.new_key_id);
      record.new_version = 10u + minted;
      record.new_value = {};
      break;
    case rotation::VersionChange::kPromote:
      world.rotated = true;
      world.retiring = record.old_version == 0 ? 0 : world.current;
      world.retiring_place = record.old_version == 0 ? 0 : world.current_place;
      world.current = world.pending;
      world.current_place = world.pending_place;
      world.pending = world.pending_place = 0;
      world.grace_over = false;
      break;
    case rotation::VersionChange::kDropNew:
      world.ended_places |= Bit(world.pending_place);
      world.pending = world.pending_place = 0;
      break;
    case rotation::VersionChange::kRevokeOld:
      if (Alive(world, world.retiring)) world.violation = kForgotValue;
      world.ended_places |= Bit(world.retiring_place);
      world.retiring = world.retiring_place = 0;
      break;
    case rotation::VersionChange::kReplace:
      world.rotated = true;
      world.lost = false;
      world.current = minted;
      world.current_place = Number(record.new_key_id);
      record.new_version = 10u + minted;
      record.new_value = {};
      break;
    case rotation::VersionChange::kSwap:
      std::swap(world.current, world.retiring);
      std::swap(world.current_place, world.retiring_place);
      world.grace_over = false;
      break;
    case rotation::VersionChange::kLoseCurrent:
      world.current = 0;
      world.lost = true;
      break;
  }
  world.ended_places &= static_cast<uint16_t>(~1u);
  if (const auto* close = std::get_if<rotation::Close>(&step.effect)) {
    if (close->ending == rotation::Ending::kSwept) world.looked = true;
    world.has_row = false;
    world.stored = Row();
  } else {
    world.has_row = true;
    world.stored = ToRow(record);
  }
}

void Mover::Post(World& world, Message message) const {
  for (Message& slot : world.mail) {
    if (slot.kind != Message::kNone) slot.awaited = false;
  }
  message.awaited = true;
  for (size_t i = 0; i < setting_.mail_max; ++i) {
    if (world.mail[i].kind != Message::kNone) continue;
    world.mail[i] = message;
    return;
  }
  // More than fit: the first one is lost, as it may be in any case.
  world.mail.front() = message;
}

void Mover::Perform(World& world, const rotation::Step& step) const {
  world.row = ToRow(step.record);
  for (Message& slot : world.mail) slot.awaited = false;
  if (std::holds_alternative<rotation::Close>(step.effect)) {
    world.running = world.sweep_only = false;
    world.row = Row();
    world.awaited = Awaited::kNothing;
  } else if (std::holds_alternative<rotation::CallCreate>(step.effect)) {
    world.awaited = Awaited::kCreate;
    Message message;
    message.kind = Message::kCreate;
    message.place = world.row.target;
    message.value = Is(ProviderClass::kSelfRoll) ? world.current : world.row.chosen;
    Post(world, message);
  } else if (std::holds_alternative<rotation::CallList>(step.effect)) {
    world.awaited = Awaited::kList;
  } else if (std::holds_alternative<rotation::CallVerifyNew>(step.effect)) {
    world.awaited = Awaited::kVerifyNew;
  } else if (std::holds_alternative<rotation::CallVerifyOld>(step.effect)) {
    world.awaited = Awaited::kVerifyOld;
  } else if (const auto* revoke = std::get_if<rotation::CallRevoke>(&step.effect)) {
    world.awaited = Awaited::kRevoke;
    Message message;
    message.kind = Message::kRevoke;
    message.place = Number(revoke->key_id);
    Post(world, message);
  } else {
    world.awaited = Awaited::kDue;
  }
}

uint8_t Mover::Put(World& world, uint8_t place, uint8_t value) const {
  world.content[place] = value;
  world.usable &= static_cast<uint16_t>(~Bit(value));
  world.looked = false;
  return value;
}

std::optional<providers::MintedKey> Mover::Make(World& world, const Message& message) const {
  uint8_t place = message.place;
  uint8_t value = message.value;
  switch (setting_.provider_class) {
    case ProviderClass::kChosen:
      // `place` is the one in use.
      place = setting_.own_places ? value : static_cast<uint8_t>(message.place == 1 ? 2 : 1);
      if (world.content[place] != value) Put(world, place, value);
      break;
    case ProviderClass::kSelfRoll:
      place = 1;
      if (world.content[1] != value) {
        // As at GitLab: using a value that was replaced ends the one that replaced it.
        if (world.content[1] != 0) {
          if (!setting_.late && setting_.duplicates == 0) world.violation = kUsedTwice;
          Put(world, 1, 0);
        }
        return std::nullopt;
      }
      value = Put(world, 1, Fresh(world));
      break;
    case ProviderClass::kRoll:
      if (setting_.own_places) {
        if (world.content[place] == 0) return std::nullopt;
        value = Fresh(world);
        Put(world, place, 0);
        place = value;
        Put(world, place, value);
        break;
      }
      [[fallthrough]];
    default:
      value = Put(world, place, Fresh(world));
  }
  providers::MintedKey key;
  key.id = PlaceId(place);
  key.value = ValueOf(value);
  return key;
}

void Mover::Empty(World& world, uint8_t place) const {
  if (place == 0 || world.content[place] == 0) return;
  Put(world, place, Is(ProviderClass::kDualSlot) ? Fresh(world) : uint8_t{0});
}

std::vector<providers::ListedKey> Mover::Listed(const World& world) const {
  std::vector<providers::ListedKey> listed;
  for (int place = 1; place < kValuesMax; ++place) {
    const uint8_t value = world.content[static_cast<size_t>(place)];
    if (value == 0) continue;
    providers::ListedKey key;
    key.id = PlaceId(place);
    if (Is(ProviderClass::kDualSlot)) key.value = ValueOf(value);
    listed.push_back(std::move(key));
  }
  return listed;
}

void Mover::Arrives(size_t index) {
  const Message message = world_.mail[index];
  World gone = world_;
  gone.mail[index] = Message();
  World applied = gone;
  const bool awaited = message.awaited && world_.up;
  rotation::Event reply;
  bool refused = false;
  if (message.kind == Message::kCreate) {
    rotation::CreateReplied created;
    created.key = Make(applied, message);
    refused = !created.key.has_value();
    created.result = {refused ? Outcome::kRejected : Outcome::kOk, "", 200, {}};
    reply = std::move(created);
  } else {
    Empty(applied, message.place);
    reply = rotation::RevokeReplied{{Outcome::kOk, "", 200, {}}};
  }
  if (awaited) {
    Add("applied and answered", Fate::kFair, Take(applied, reply, kBefore));
    if (world_.faults < setting_.faults && message.kind == Message::kCreate && !refused) {
      World next = gone;
      ++next.faults;
      rotation::CreateReplied no{{Outcome::kRejected, "http_403", 403, {}}, std::nullopt};
      Add("create refused", Fate::kBadLuck, Take(next, no, kBefore));
    }
  }
  Add("applied, no reply", awaited ? Fate::kBadLuck : Fate::kDelivered, applied);
  Add("lost", awaited ? Fate::kBadLuck : Fate::kLost, gone);
  if (world_.duplicates < setting_.duplicates) {
    World twice = applied;
    twice.mail[index] = message;
    ++twice.duplicates;
    if (!awaited) {
      Add("applied, and still on its way", Fate::kBadLuck, twice);
    } else {
      twice.mail[index].awaited = false;
      Add("applied and answered, and still on its way", Fate::kBadLuck,
          Take(twice, reply, kBefore));
    }
  }
}

bool Mover::OnTheirWay(Message::Kind kind) const {
  return std::any_of(world_.mail.begin(), world_.mail.end(),
                     [kind](const Message& m) { return m.kind == kind; });
}

void Mover::Surroundings() {
  for (uint8_t value : {world_.pending, world_.current}) {
    if (!Alive(world_, value) || Usable(world_, value)) continue;
    World next = world_;
    next.usable |= Bit(value);
    Add("the new value spreads", Fate::kFair, next);
  }
  const bool retiring =
      world_.has_row && static_cast<State>(world_.stored.state) == State::kRetiring;
  if (retiring && !world_.grace_over && (!setting_.consumers || world_.up)) {
    World next = world_;
    next.grace_over = true;
    // Without waiting for consumers the grace is what they have to read the new one.
    if (!setting_.consumers && next.consumer == next.retiring) {
      next.consumer = next.up ? next.current : uint8_t{0};
    }
    Add("the grace ends", Fate::kFair, next);
  }
  if (world_.up && world_.current != 0 && world_.consumer != world_.current) {
    World next = world_;
    next.consumer = next.current;
    Add("the consumer reads", Fate::kFair, next);
  }
  if (setting_.undo && world_.up && world_.undone == 0 && world_.running &&
      static_cast<State>(world_.row.state) == State::kRetiring) {
    World next = world_;
    ++next.undone;
    Add("a person takes it back", Fate::kBadLuck, Take(next, rotation::Undone{}, kBefore));
  }
}

void Mover::Begin() {
  if (world_.up && world_.crashes < setting_.crashes && world_.running) {
    World next = world_;
    next.up = next.running = next.sweep_only = false;
    next.row = Row();
    next.awaited = Awaited::kNothing;
    for (Message& slot : next.mail) slot.awaited = false;
    next.looked = false;
    ++next.crashes;
    Add("CRASH", Fate::kBadLuck, next);
  }
  if (!world_.up) {
    World next = world_;
    next.up = true;
    if (next.has_row) {
      next.running = true;
      next.row = next.stored;
      next.sweep_only = static_cast<State>(next.row.state) == State::kSweeping;
      next = Take(next, rotation::Restarted{}, kBefore);
    }
    Add("restart", Fate::kFair, next);
    return;
  }
  if (world_.running) return;
  if (world_.lost) {
    World next = world_;
    next.lost = false;
    next.current = Put(next, 1, Fresh(next));
    next.current_place = 1;
    next.usable |= Bit(next.current);
    Add("a person, or the second principal, brings the next key", Fate::kFair, next);
    return;
  }
  World next = world_;
  next.running = true;
  next.row = Row();
  next.row.attempt = static_cast<uint8_t>(world_.attempts + 1);
  next.row.old_place = world_.current_place;
  next.row.old_value = world_.current;
  next.sweep_only = true;
  if (!world_.looked && !Is(ProviderClass::kManual)) {
    Add("a sweep is due", Fate::kFair, Take(next, rotation::Due{}, kBefore));
  }
  // A dead key is an alert, and goes on being tried.
  const bool is_dead = !Alive(world_, world_.current);
  if (world_.attempts >= setting_.attempts && !is_dead) return;
  next.sweep_only = false;
  next.attempts = std::min<uint8_t>(static_cast<uint8_t>(next.attempts + 1), setting_.attempts);
  if (!Is(ProviderClass::kManual)) {
    Add("a rotation is due", Fate::kFair, Take(next, rotation::Due{}, kBefore));
    return;
  }
  const uint8_t value = Fresh(next);
  next.row.chosen = value;
  next.row.new_place = value;
  Add("a person brings a key that was never made", Fate::kBadLuck,
      Take(next, rotation::Brought{}, kBefore));
  Put(next, value, value);
  Add("a person brings a key", Fate::kFair, Take(next, rotation::Brought{}, kBefore));
}

void Mover::VerifyReplies(bool of_new) {
  const uint8_t value = of_new ? world_.row.new_value : world_.row.old_value;
  const bool works = of_new ? Usable(world_, value) : Alive(world_, value);
  const auto answer = [](Outcome outcome) {
    return rotation::VerifyReplied{{outcome, "verify", 0, {}}};
  };
  if (works) {
    Add("the key works", Fate::kFair, Take(world_, answer(Outcome::kOk), kBefore));
  } else {
    Add("the key is rejected", Fate::kFair, Take(world_, answer(Outcome::kRejected), kBefore));
    // One that was never there will never spread.
    if (of_new) {
      Add("the key is rejected for too long", Alive(world_, value) ? Fate::kBadLuck : Fate::kFair,
          Take(world_, answer(Outcome::kRejected), kAfter));
    }
  }
  if (world_.faults < setting_.faults) {
    World next = world_;
    ++next.faults;
    Add("no answer to verify", Fate::kBadLuck, Take(next, answer(Outcome::kTransient), kAfter));
  }
}

void Mover::Replies() {
  const State state = static_cast<State>(world_.row.state);
  const bool reused = Is(ProviderClass::kDualSlot) || Is(ProviderClass::kChosen);
  switch (world_.awaited) {
    case Awaited::kNothing:
      return;
    case Awaited::kCreate: {
      rotation::CreateReplied unknown{{Outcome::kUnknown, "timeout", 0, {}}, std::nullopt};
      Add("create times out", OnTheirWay(Message::kCreate) ? Fate::kBadLuck : Fate::kFair,
          Take(world_, unknown, kBefore));
      return;
    }
    case Awaited::kList: {
      rotation::ListReplied replied{{Outcome::kOk, "", 200, {}}, Listed(world_)};
      Add("listed", Fate::kFair, Take(world_, replied, kBefore));
      if (world_.faults < setting_.faults) {
        World next = world_;
        ++next.faults;
        rotation::ListReplied failed{{Outcome::kTransient, "http_503", 503, {}}, {}};
        Add("list fails", Fate::kBadLuck, Take(next, failed, kBefore));
      }
      return;
    }
    case Awaited::kVerifyNew:
    case Awaited::kVerifyOld:
      return VerifyReplies(world_.awaited == Awaited::kVerifyNew);
    case Awaited::kRevoke: {
      rotation::RevokeReplied unknown{{Outcome::kUnknown, "timeout", 0, {}}};
      Add("revoke times out", OnTheirWay(Message::kRevoke) ? Fate::kBadLuck : Fate::kFair,
          Take(world_, unknown, kBefore));
      return;
    }
    case Awaited::kDue: {
      // The settle time is long enough for messages to arrive or be lost; or that is what is bent.
      const bool settling = (state == State::kReconcile && OnTheirWay(Message::kCreate)) ||
                            (reused && (state == State::kRevoking || state == State::kAborting) &&
                             OnTheirWay(Message::kRevoke));
      if (settling && !setting_.late) return;
      Add("due", Fate::kFair, Take(world_, rotation::Due{}, kAfter));
      return;
    }
  }
}

std::vector<Move> Mover::All() {
  for (size_t i = 0; i < world_.mail.size(); ++i) {
    if (world_.mail[i].kind != Message::kNone) Arrives(i);
  }
  Surroundings();
  Begin();
  if (world_.up) Replies();
  return std::move(moves_);
}

bool NoMail(const World& world) {
  return std::all_of(world.mail.begin(), world.mail.end(),
                     [](const Message& m) { return m.kind == Message::kNone; });
}

}  // namespace

void PrintTo(const PlacesSetting& setting, std::ostream* out) { *out << setting.name; }

World PlacesModel::First() const {
  World world;
  world.current = world.current_place = world.consumer = 1;
  world.content[1] = 1;
  world.usable = Bit(1);
  if (setting_.provider_class == ProviderClass::kDualSlot) world.content[2] = 2;
  return world;
}

std::vector<Move> PlacesModel::MovesFrom(const World& world) const {
  return Mover(setting_, world).All();
}

std::string PlacesModel::ViolationIn(const World& world) const {
  const bool ends_the_old = setting_.provider_class == ProviderClass::kRoll ||
                            setting_.provider_class == ProviderClass::kSelfRoll;
  const bool heals = setting_.late || setting_.duplicates > 0;
  if (world.violation == kForgotValue && !heals) return "I2 a living value is written off";
  if (!ends_the_old && !heals) {
    if (world.consumer != 0 && !Usable(world, world.consumer)) {
      return "I1 the consumer holds a value that does not work";
    }
    if (world.retiring != 0 && !world.grace_over && !Alive(world, world.retiring)) {
      return "I1 the retiring value died before its grace ended";
    }
    if (!Alive(world, world.current)) return "I3 the current value is dead";
  }
  if (world.violation == kUsedTwice) return "a key that was replaced is used again";
  const bool quiet = !ends_the_old && world.up && !world.running && !world.has_row &&
                     NoMail(world) && world.looked;
  if (quiet && !world.lost && !IsClean(world)) return "I2 something is left over";
  return "";
}

bool PlacesModel::IsClean(const World& world) const {
  if (!world.up || world.running || world.has_row || !NoMail(world)) return false;
  if (world.retiring != 0 || world.pending != 0 || !Alive(world, world.current)) return false;
  if (world.content[world.current_place] != world.current) return false;
  // What a person made and never brought is the person's business.
  if (setting_.provider_class == ProviderClass::kManual) return true;
  int alive = 0;
  for (uint8_t value : world.content) alive += value == 0 ? 0 : 1;
  return alive == (setting_.provider_class == ProviderClass::kDualSlot ? 2 : 1);
}

std::string PlacesModel::Describe(const World& world) const {
  std::string places;
  for (int place = 1; place < kValuesMax; ++place) {
    const int value = world.content[static_cast<size_t>(place)];
    if (value != 0) absl::StrAppend(&places, " p", place, "=v", value);
  }
  std::string mail;
  for (const Message& m : world.mail) {
    if (m.kind == Message::kNone) continue;
    absl::StrAppend(&mail, m.kind == Message::kCreate ? " create(p" : " revoke(p", int{m.place},
                    ",v", int{m.value}, ")");
  }
  return absl::StrCat(
      "current=v", int{world.current}, " retiring=v", int{world.retiring}, " pending=v",
      int{world.pending}, places, mail, " consumer=v", int{world.consumer},
      " row=", world.has_row ? rotation::StateName(static_cast<State>(world.stored.state)) : "-",
      " memory=", world.running ? rotation::StateName(static_cast<State>(world.row.state)) : "-",
      world.up ? "" : " DOWN");
}

std::string PlacesModel::Packed(const World& world) const {
  std::string text;
  text.reserve(112);
  const auto add = [&text](auto value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    text.append(bytes, sizeof value);
  };
  const auto add_row = [&add](const Row& r) {
    add(r.state), add(r.attempt), add(r.new_place), add(r.old_place), add(r.target);
    add(r.before), add(r.chosen), add(r.old_value), add(r.new_value), add(r.creates);
    add(r.clean_lists), add(r.step_failures), add(r.abort_places), add(r.sent), add(r.seen_places);
  };
  add(world.content), add(world.usable);
  for (const Message& m : world.mail) add(m.kind), add(m.place), add(m.value), add(m.awaited);
  add(world.current), add(world.current_place), add(world.retiring), add(world.retiring_place);
  add(world.pending), add(world.pending_place), add(world.ended_places), add(world.has_row);
  add_row(world.stored), add(world.up), add(world.running), add(world.sweep_only);
  add_row(world.row), add(world.awaited), add(world.consumer), add(world.grace_over);
  add(world.looked), add(world.attempts), add(world.crashes), add(world.duplicates);
  add(world.faults), add(world.undone), add(world.rotated), add(world.lost);
  add(world.violation);
  return text;
}

}  // namespace keyturn::model::places

// SPDX-License-Identifier: Apache-2.0
#include "tests/model/rotation_model.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::model {
namespace {

using providers::CallResult;
using providers::Outcome;
using rotation::State;
using rotation::StateName;

// The two moments, with every deadline of a row between them.
const absl::Time kBefore = absl::FromUnixSeconds(1'000'000);
const absl::Time kDeadline = kBefore + absl::Hours(1);
const absl::Time kAfter = kBefore + absl::Hours(2);

enum Violation : uint8_t { kNone, kForeignMinted, kForgotKey, kOverLimit, kTwice };

KeySet Bit(int key) { return static_cast<KeySet>(1u << key); }
bool Has(KeySet set, int key) { return key != 0 && (set & Bit(key)) != 0; }

std::string KeyId(int key) { return key == 0 ? "" : absl::StrCat("k", key); }
uint8_t KeyOf(const std::string& id) {
  int key = 0;
  if (id.empty()) return 0;
  KEYTURN_CHECK(absl::SimpleAtoi(id.substr(1), &key), "a key id of the model");
  return static_cast<uint8_t>(key);
}
std::string TagText(int attempt) { return attempt == 0 ? "" : absl::StrCat("kt-", attempt); }
base::CredentialValue ValueOf(int key) {
  return base::CredentialValue::Of(base::Secret(absl::StrCat("secret-", key)));
}

constexpr uint8_t kForeignTag = 15;
// A sweep has a tag that no key ever carries. With one agent it may as well be the next attempt's.
constexpr uint8_t kSweepTag = 7;

// The row as Advance knows it.
store::RotationRecord ToRecord(const Row& row) {
  store::RotationRecord record;
  record.id = absl::StrCat("r", row.attempt);
  record.credential = "c";
  record.state = std::string(StateName(static_cast<State>(row.state)));
  record.attempt = row.attempt;
  record.tag = TagText(row.attempt);
  record.new_key_id = KeyId(row.new_key);
  record.old_key_id = KeyId(row.old_key);
  record.old_version = row.has_old ? 1 : 0;
  record.new_version = row.has_new ? 2 : 0;
  record.clean_lists = row.clean_lists;
  record.step_failures = row.step_failures;
  record.started_at = kBefore;
  if (row.sent) record.sent_at = kBefore;
  record.settle_until = record.verify_until = record.grace_until = record.dead_by = kDeadline;
  for (int key = 1; key < kKeysMax; ++key) {
    if (Has(row.seen_before, key)) record.seen_before.push_back(KeyId(key));
  }
  for (uint8_t key : row.abort_ids) {
    if (key != 0) record.abort_ids.push_back(KeyId(key));
  }
  return record;
}

Row ToRow(const store::RotationRecord& record) {
  Row row;
  row.state = static_cast<uint8_t>(rotation::ParseState(record.state));
  row.attempt = static_cast<uint8_t>(record.attempt);
  row.new_key = KeyOf(record.new_key_id);
  row.old_key = KeyOf(record.old_key_id);
  row.has_old = record.old_version != 0;
  row.has_new = record.new_version != 0;
  row.sent = record.sent_at != store::kNever;
  row.clean_lists = static_cast<uint8_t>(record.clean_lists);
  // Nothing counts further than this.
  row.step_failures = static_cast<uint8_t>(std::min(record.step_failures, 4u));
  for (const std::string& id : record.seen_before) row.seen_before |= Bit(KeyOf(id));
  KEYTURN_CHECK(record.abort_ids.size() <= row.abort_ids.size(), "the model's rows are too small");
  for (size_t i = 0; i < record.abort_ids.size(); ++i)
    row.abort_ids[i] = KeyOf(record.abort_ids[i]);
  return row;
}

View Stored(const World& world) {
  return {world.current,        world.retiring,    world.pending,
          world.stored.new_key, world.closed_tags, world.has_row};
}
// What the agent whose turn it is takes for stored.
View Seen(const World& world) { return world.stale ? world.view : Stored(world); }

// The keys that some version or the open row accounts for, as Ledger::KnownKeyIds.
KeySet Known(const View& view) {
  KeySet known = 0;
  for (uint8_t key : {view.current, view.retiring, view.pending, view.row_key}) {
    if (key != 0) known |= Bit(key);
  }
  return known;
}

// The keys of a row that still matter.
KeySet Referred(const Row& row) {
  KeySet keys = 0;
  for (uint8_t key : row.abort_ids) keys |= key == 0 ? KeySet{0} : Bit(key);
  for (uint8_t key : {row.new_key, row.old_key}) keys |= key == 0 ? KeySet{0} : Bit(key);
  return keys;
}

KeySet Renumbered(KeySet keys, const std::array<uint8_t, kKeysMax>& names) {
  KeySet renamed = 0;
  for (size_t key = 1; key < names.size(); ++key) {
    if (Has(keys, static_cast<int>(key)) && names[key] != 0) renamed |= Bit(names[key]);
  }
  return renamed;
}

void Renumber(Row& row, const std::array<uint8_t, kKeysMax>& names) {
  row.new_key = names[row.new_key];
  row.old_key = names[row.old_key];
  row.seen_before = Renumbered(row.seen_before, names);
  for (uint8_t& key : row.abort_ids) key = names[key];
}

void Renumber(View& view, const std::array<uint8_t, kKeysMax>& names) {
  for (uint8_t* key : {&view.current, &view.retiring, &view.pending, &view.row_key}) {
    *key = names[*key];
  }
}

KeySet Awaits(const Agent& agent) {
  return agent.awaited == Awaited::kRevoke ? Bit(agent.revoking) : KeySet{0};
}

// Worlds that can only behave alike become the same: what nobody can ever ask for is forgotten, and
// the keys that are left are numbered anew in their order.
World Simplified(World world) {
  KeySet awaited = Awaits(world) | Awaits(world.other);
  world.deletes &= world.alive | awaited;  // a delete of a dead key does nothing
  KeySet named =
      world.alive | world.deletes | awaited | Referred(world.row) | Referred(world.stored);
  KeySet held = 0;
  for (uint8_t key : {world.current, world.retiring, world.pending, world.consumer}) {
    if (key != 0) held |= Bit(key);
  }
  if (world.has_other) {
    named |= Referred(world.other.row);
    held = static_cast<KeySet>(held | Known(world.view) | Known(world.other.view));
  }
  named |= held;
  if (world.foreign != 0 && world.foreign != kForeignTag) named |= Bit(world.foreign);
  world.usable &= held;
  uint8_t tags = world.creates;
  std::array<uint8_t, kKeysMax> names = {};
  std::array<uint8_t, kKeysMax> key_tags = {};
  uint8_t count = 0;
  for (size_t key = 1; key < names.size(); ++key) {
    if (!Has(named, static_cast<int>(key))) continue;
    names[key] = ++count;
    if (!Has(world.alive, static_cast<int>(key))) continue;
    key_tags[count] = world.tags[key];
    if (world.tags[key] < 8) tags |= static_cast<uint8_t>(1u << world.tags[key]);
  }
  world.closed_tags &= tags;  // no other can ever be seen again
  world.made = count;
  world.tags = key_tags;
  for (KeySet* keys : {&world.alive, &world.usable, &world.deletes}) {
    *keys = Renumbered(*keys, names);
  }
  for (uint8_t* key :
       {&world.current, &world.retiring, &world.pending, &world.consumer, &world.revoking}) {
    *key = names[*key];
  }
  if (world.has_other) {
    Renumber(world.view, names);
    Renumber(world.other.view, names);
    Renumber(world.other.row, names);
    world.other.revoking = names[world.other.revoking];
    world.view.closed_tags &= tags;
    world.other.view.closed_tags &= tags;
  }
  if (world.foreign != kForeignTag) world.foreign = names[world.foreign];
  Renumber(world.row, names);
  Renumber(world.stored, names);
  return world;
}

template <class Value>
void Append(std::string& text, Value value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  text.append(bytes, sizeof value);
}

void Append(std::string& text, const Row& row) {
  Append(text, row.state), Append(text, row.attempt), Append(text, row.new_key);
  Append(text, row.old_key), Append(text, row.has_old), Append(text, row.has_new);
  Append(text, row.sent), Append(text, row.clean_lists), Append(text, row.step_failures);
  Append(text, row.seen_before), Append(text, row.abort_ids);
}

void Append(std::string& text, const Agent& agent) {
  Append(text, agent.up), Append(text, agent.running), Append(text, agent.sweep_only);
  Append(text, agent.row), Append(text, agent.awaited), Append(text, agent.revoking);
}

void Append(std::string& text, const View& view) {
  Append(text, view.current), Append(text, view.retiring), Append(text, view.pending);
  Append(text, view.row_key), Append(text, view.closed_tags), Append(text, view.has_row);
}

// Agents that have one store differ in nothing but what they remember, so which of them is which
// makes no difference.
std::string Remembered(const Agent& agent) {
  std::string text;
  text.reserve(40);
  Append(text, agent), Append(text, agent.stale), Append(text, agent.view);
  return text;
}
void Swap(World& world) { std::swap(static_cast<Agent&>(world), world.other); }
void PutInOrder(World& world) {
  if (Remembered(world.other) < Remembered(world)) Swap(world);
}

// Whether a consumer can rely on it. An agent that has not noticed yet that another one has written
// hands out the old key until it commits something: that is what the store's lock is for.
bool IsServing(const Agent& agent) { return agent.up && !agent.stale; }

// One move in the making, of the agent whose turn it is or of what is around it.
class Mover {
 public:
  Mover(const Setting& setting, const World& world) : setting_(setting), world_(world) {}

  std::vector<Move> All();
  // Those that are only this agent's.
  std::vector<Move> OfAgent();

 private:
  void Add(const char* what, Fate fate, const World& next) {
    moves_.push_back({what, fate, Simplified(next)});
    if (next.has_other) PutInOrder(moves_.back().next);
  }
  bool AwaitsCreate(const Agent& agent, int attempt) const {
    return agent.up && agent.awaited == Awaited::kCreate && agent.row.attempt == attempt;
  }
  bool AwaitsDelete(const Agent& agent, int key) const {
    return agent.up && agent.awaited == Awaited::kRevoke && agent.revoking == key;
  }
  void Messages();
  void CreateArrives(int attempt);
  void DeleteArrives(int key);
  void Surroundings();
  void Reads();
  void Begin();
  void Replies();
  void VerifyReplies(bool of_new);

  // The agent takes an event: what Engine::Take, Commit and Perform do.
  World Take(World world, const rotation::Event& event, absl::Time now) const;
  rotation::Facts FactsFor(const World& world, absl::Time now) const;
  bool Permitted(World& world) const;
  static World Stopped(World world);
  void Commit(World& world, const rotation::Step& step) const;
  static void Perform(World& world, const rotation::Step& step);
  uint8_t MakeKey(World& world, int tag) const;
  std::vector<providers::ListedKey> Listed(const World& world) const;

  const Setting& setting_;
  const World& world_;
  bool of_agent_ = false;
  std::vector<Move> moves_;
};

rotation::Facts Mover::FactsFor(const World& world, absl::Time now) const {
  rotation::Facts facts;
  facts.now = now;
  facts.traits.provider_class = setting_.provider_class;
  facts.traits.key_limit = setting_.key_limit;
  facts.traits.settle = kDeadline - kBefore;
  facts.traits.propagation = kDeadline - kBefore;
  facts.traits.cached_for = setting_.cached ? absl::Minutes(10) : absl::ZeroDuration();
  facts.exclusive = setting_.exclusive;
  facts.sweep_only = world.sweep_only;
  const View seen = Seen(world);
  const KeySet known = Known(seen);
  for (int key = 1; key < kKeysMax; ++key) {
    if (Has(known, key)) facts.known_ids.insert(KeyId(key));
  }
  facts.our_tags.insert(TagText(world.row.attempt));
  for (int attempt = 1; attempt < 8; ++attempt) {
    if ((seen.closed_tags >> attempt) & 1) facts.our_tags.insert(TagText(attempt));
  }
  if (seen.current != 0) facts.current_value = ValueOf(seen.current);
  facts.grace = absl::Minutes(5);
  facts.grace_over = world.grace_over;
  return facts;
}

World Mover::Take(World world, const rotation::Event& event, absl::Time now) const {
  rotation::Step step = setting_.advance(ToRecord(world.row), event, FactsFor(world, now));
  const bool closes = std::holds_alternative<rotation::Close>(step.effect);
  if (step.journal || closes) {
    if (!Permitted(world)) return Stopped(world);
    Commit(world, step);
  }
  if (step.version == rotation::VersionChange::kMint) step.record.new_version = 2;
  Perform(world, step);
  return world;
}

// What the store answers to a commit of the agent whose turn it is.
bool Mover::Permitted(World& world) const {
  if (!world.stale) return true;
  const View& seen = world.view;
  const bool rows_alike = !seen.has_row && !world.has_row;
  if (setting_.guard == Guard::kCredential) return false;
  if (setting_.guard == Guard::kRowAlone && !rows_alike) return false;
  const bool versions_alike = seen.current == world.current && seen.retiring == world.retiring &&
                              seen.pending == world.pending;
  if (!rows_alike || !versions_alike) world.violation = kTwice;
  world.stale = false;
  world.view = View();
  return true;
}

// The agent ends, and reads the store anew when it starts again.
World Mover::Stopped(World world) {
  static_cast<Agent&>(world) = Agent();
  world.up = false;
  world.swept = false;
  return world;
}

// What journal.cc writes: the row and the versions together.
void Mover::Commit(World& world, const rotation::Step& step) const {
  store::RotationRecord record = step.record;
  if (world.has_other && world.other.up && !world.other.stale) {
    world.other.stale = true;
    world.other.view = Stored(world);
  }
  switch (step.version) {
    case rotation::VersionChange::kNone:
      break;
    case rotation::VersionChange::kMint:
      world.pending = KeyOf(record.new_key_id);
      record.new_version = 2;
      if (world.pending == world.foreign) world.violation = kForeignMinted;
      break;
    case rotation::VersionChange::kPromote:
      world.rotated = true;
      world.retiring = record.old_version == 0 ? 0 : world.current;
      world.current = world.pending;
      world.pending = 0;
      world.grace_over = false;
      break;
    case rotation::VersionChange::kDropNew:
      world.pending = 0;
      break;
    case rotation::VersionChange::kRevokeOld:
      if (Has(world.alive, world.retiring)) world.violation = kForgotKey;
      world.retiring = 0;
      break;
    case rotation::VersionChange::kSwap:
      std::swap(world.current, world.retiring);
      world.grace_over = false;
      break;
    case rotation::VersionChange::kReplace:
    case rotation::VersionChange::kLoseCurrent:
      KEYTURN_CHECK(false, "only classes that tests/model/places_model.h is for");
  }
  if (const auto* close = std::get_if<rotation::Close>(&step.effect)) {
    if (setting_.provider_class == providers::ProviderClass::kTagged && world.row.sent) {
      world.closed_tags |= static_cast<uint8_t>(1u << world.row.attempt);
    }
    if (close->ending == rotation::Ending::kSwept) world.swept = true;
    world.has_row = false;
    world.stored = Row();
  } else {
    world.has_row = true;
    world.stored = ToRow(record);
  }
}

void Mover::Perform(World& world, const rotation::Step& step) {
  world.row = ToRow(step.record);
  world.revoking = 0;
  if (std::holds_alternative<rotation::Close>(step.effect)) {
    world.running = false;
    world.sweep_only = false;
    world.row = Row();
    world.awaited = Awaited::kNothing;
  } else if (std::holds_alternative<rotation::CallCreate>(step.effect)) {
    world.awaited = Awaited::kCreate;
    world.creates |= static_cast<uint8_t>(1u << world.row.attempt);
  } else if (std::holds_alternative<rotation::CallList>(step.effect)) {
    world.awaited = Awaited::kList;
  } else if (std::holds_alternative<rotation::CallVerifyNew>(step.effect)) {
    world.awaited = Awaited::kVerifyNew;
  } else if (std::holds_alternative<rotation::CallVerifyOld>(step.effect)) {
    world.awaited = Awaited::kVerifyOld;
  } else if (const auto* revoke = std::get_if<rotation::CallRevoke>(&step.effect)) {
    world.awaited = Awaited::kRevoke;
    world.revoking = KeyOf(revoke->key_id);
    world.deletes |= Bit(world.revoking);
  } else {
    world.awaited = Awaited::kDue;
  }
}

uint8_t Mover::MakeKey(World& world, int tag) const {
  const uint8_t key = ++world.made;
  KEYTURN_CHECK(key < kKeysMax, "the model has too few keys");
  world.alive |= Bit(key);
  world.tags[key] = static_cast<uint8_t>(tag);
  world.swept = false;
  if (static_cast<uint32_t>(__builtin_popcount(world.alive)) > setting_.key_limit) {
    world.violation = kOverLimit;
  }
  return key;
}

std::vector<providers::ListedKey> Mover::Listed(const World& world) const {
  std::vector<providers::ListedKey> listed;
  for (int key = 1; key <= world.made; ++key) {
    if (!Has(world.alive, key)) continue;
    providers::ListedKey entry;
    entry.id = KeyId(key);
    if (setting_.provider_class == providers::ProviderClass::kTagged) {
      entry.tag = world.tags[static_cast<size_t>(key)] == kForeignTag
                      ? "somebody"
                      : TagText(world.tags[static_cast<size_t>(key)]);
    }
    if (setting_.provider_class == providers::ProviderClass::kListed) entry.value = ValueOf(key);
    listed.push_back(std::move(entry));
  }
  return listed;
}

void Mover::CreateArrives(int attempt) {
  const auto mask = static_cast<uint8_t>(~(1u << attempt));
  const bool awaited = AwaitsCreate(world_, attempt);
  World gone = world_;
  gone.creates &= mask;
  if (static_cast<uint32_t>(__builtin_popcount(world_.alive)) >= setting_.key_limit) {
    if (awaited) {
      rotation::CreateReplied refused{{Outcome::kLimited, "limit", 400, {}}, std::nullopt};
      Add("create refused: limit", Fate::kFair, Take(gone, refused, kBefore));
    }
    Add("create refused: limit, reply lost", awaited ? Fate::kBadLuck : Fate::kFair, gone);
    return;
  }
  World applied = gone;
  const uint8_t key = MakeKey(applied, attempt);
  rotation::CreateReplied replied;
  replied.result = {Outcome::kOk, "", 200, {}};
  replied.key = providers::MintedKey{KeyId(key), ValueOf(key), std::nullopt};
  if (awaited) {
    Add("create applied", Fate::kFair, Take(applied, replied, kBefore));
    rotation::CreateReplied refused{{Outcome::kRejected, "http_403", 403, {}}, std::nullopt};
    Add("create refused", Fate::kBadLuck, Take(gone, refused, kBefore));
  }
  Add("create applied, no reply", awaited ? Fate::kBadLuck : Fate::kDelivered, applied);
  Add("create lost", awaited ? Fate::kBadLuck : Fate::kLost, gone);
  if (world_.duplicates < setting_.duplicates) {
    World twice = applied;
    twice.creates = world_.creates;
    ++twice.duplicates;
    Add("create applied, and still on its way", Fate::kBadLuck, twice);
    if (awaited) {
      Add("create applied and answered, and still on its way", Fate::kBadLuck,
          Take(twice, replied, kBefore));
    }
  }
}

void Mover::DeleteArrives(int key) {
  const bool awaited = AwaitsDelete(world_, key);
  World gone = world_;
  gone.deletes &= static_cast<KeySet>(~Bit(key));
  World applied = gone;
  applied.alive &= static_cast<KeySet>(~Bit(key));
  applied.usable &= static_cast<KeySet>(~Bit(key));
  applied.tags[static_cast<size_t>(key)] = 0;
  if (Has(world_.alive, key)) applied.swept = false;
  if (awaited) {
    rotation::RevokeReplied ok{{Outcome::kOk, "", 200, {}}};
    Add("delete applied", Fate::kFair, Take(applied, ok, kBefore));
  }
  Add("delete applied, no reply", awaited ? Fate::kBadLuck : Fate::kDelivered, applied);
  Add("delete lost", awaited ? Fate::kBadLuck : Fate::kLost, gone);
  if (Has(world_.alive, key)) {
    World twice = applied;
    twice.deletes = world_.deletes;
    Add("delete applied, and still on its way", Fate::kBadLuck, twice);
  }
}

void Mover::Messages() {
  for (int attempt = 1; attempt < 8; ++attempt) {
    if (((world_.creates >> attempt) & 1) == 0) continue;
    const bool mine = AwaitsCreate(world_, attempt);
    if (mine || (!of_agent_ && !AwaitsCreate(world_.other, attempt))) CreateArrives(attempt);
  }
  for (int key = 1; key <= world_.made; ++key) {
    if (!Has(world_.deletes, key)) continue;
    const bool mine = AwaitsDelete(world_, key);
    if (mine || (!of_agent_ && !AwaitsDelete(world_.other, key))) DeleteArrives(key);
  }
}

void Mover::Surroundings() {
  // Whether any other key has spread makes no difference to anyone.
  if (Has(world_.alive, world_.pending) && !Has(world_.usable, world_.pending)) {
    World next = world_;
    next.usable |= Bit(world_.pending);
    Add("the new key spreads", Fate::kFair, next);
  }
  if (setting_.foreign && world_.foreign == 0 &&
      static_cast<uint32_t>(__builtin_popcount(world_.alive)) < setting_.key_limit) {
    World next = world_;
    next.foreign = MakeKey(next, kForeignTag);
    Add("somebody else makes a key", Fate::kBadLuck, next);
  }
  const bool in_operator =
      world_.has_row && static_cast<State>(world_.stored.state) == State::kOperator;
  for (int key = 1; in_operator && key <= world_.made; ++key) {
    // The person who was called deletes what nobody else made.
    if (!Has(world_.alive, key) || Has(Known(Stored(world_)), key) || key == world_.foreign)
      continue;
    if (Has(world_.stored.seen_before, key)) continue;
    World next = world_;
    next.alive &= static_cast<KeySet>(~Bit(key));
    next.usable &= next.alive;
    next.tags[static_cast<size_t>(key)] = 0;
    Add("a person deletes the doubtful key", Fate::kFair, next);
  }
  if (in_operator && Has(world_.alive, world_.foreign)) {
    World next = world_;
    next.alive &= static_cast<KeySet>(~Bit(world_.foreign));
    next.usable &= next.alive;
    next.tags[world_.foreign] = 0;
    next.foreign = kForeignTag;  // theirs to delete, and they make no other
    Add("its owner deletes the other key", Fate::kFair, next);
  }
  const bool retiring =
      world_.has_row && static_cast<State>(world_.stored.state) == State::kRetiring;
  if (retiring && !world_.grace_over) {
    World next = world_;
    next.grace_over = true;
    const bool served = IsServing(next) || (next.has_other && IsServing(next.other));
    if (next.consumer == next.retiring) next.consumer = served ? next.current : uint8_t{0};
    Add("the grace ends", Fate::kFair, next);
  }
}

void Mover::Reads() {
  if (!IsServing(world_) || world_.current == 0 || world_.consumer == world_.current) return;
  World next = world_;
  next.consumer = next.current;
  Add("the consumer reads", Fate::kFair, next);
}

void Mover::Begin() {
  const bool open = world_.running || world_.creates != 0 || (world_.has_other && world_.has_row);
  if (world_.up && world_.crashes < setting_.crashes && open) {
    World next = Stopped(world_);
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
  const bool may_rotate = world_.attempts < setting_.attempts;
  if (!world_.running) {
    World next = world_;
    next.running = true;
    next.row = Row();
    const auto attempt = static_cast<uint8_t>(world_.attempts + 1);
    next.row.attempt = world_.has_other ? kSweepTag : attempt;
    next.row.old_key = Seen(world_).current;
    next.row.has_old = next.row.old_key != 0;
    next.sweep_only = true;
    if (!world_.swept) Add("a sweep is due", Fate::kFair, Take(next, rotation::Due{}, kBefore));
    next.sweep_only = false;
    next.row.attempt = attempt;
    ++next.attempts;
    if (may_rotate) Add("a rotation is due", Fate::kFair, Take(next, rotation::Due{}, kBefore));
  } else if (world_.sweep_only && may_rotate) {
    World next = world_;
    next.sweep_only = false;
    ++next.attempts;
    if (world_.has_other) next.row.attempt = next.attempts;
    Add("a rotation is asked for during a sweep", Fate::kFair, next);
  }
}

void Mover::VerifyReplies(bool of_new) {
  const int key = of_new ? world_.row.new_key : Seen(world_).retiring;
  const bool works = of_new ? Has(world_.usable, key) : Has(world_.alive, key);
  const auto answer = [](Outcome outcome) {
    return rotation::VerifyReplied{{outcome, "verify", 0, {}}};
  };
  if (works) {
    Add("the key works", Fate::kFair, Take(world_, answer(Outcome::kOk), kBefore));
  } else {
    Add("the key is rejected", Fate::kFair, Take(world_, answer(Outcome::kRejected), kBefore));
    if (of_new) {
      // A key that another agent has deleted will never work.
      const Fate fate = Has(world_.alive, key) ? Fate::kBadLuck : Fate::kFair;
      Add("the key is rejected for too long", fate,
          Take(world_, answer(Outcome::kRejected), kAfter));
    }
  }
  if (world_.faults < setting_.faults) {
    World next = world_;
    ++next.faults;
    Add("no answer to verify", Fate::kBadLuck, Take(next, answer(Outcome::kTransient), kAfter));
    if (!of_new && !works) {
      Add("a deleted key is still accepted", Fate::kBadLuck,
          Take(next, answer(Outcome::kOk), kBefore));
    }
  }
}

void Mover::Replies() {
  const State state = static_cast<State>(world_.row.state);
  switch (world_.awaited) {
    case Awaited::kNothing:
      return;
    case Awaited::kCreate: {
      const bool pending = (world_.creates >> world_.row.attempt) & 1;
      rotation::CreateReplied unknown{{Outcome::kUnknown, "timeout", 0, {}}, std::nullopt};
      Add("create times out", pending ? Fate::kBadLuck : Fate::kFair,
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
      VerifyReplies(world_.awaited == Awaited::kVerifyNew);
      return;
    case Awaited::kRevoke: {
      rotation::RevokeReplied unknown{{Outcome::kUnknown, "timeout", 0, {}}};
      Add("delete times out", Has(world_.deletes, world_.revoking) ? Fate::kBadLuck : Fate::kFair,
          Take(world_, unknown, kBefore));
      return;
    }
    case Awaited::kDue: {
      // The settle time is long enough for a create to arrive or be lost; or that is what is bent.
      const bool pending = (world_.creates >> world_.row.attempt) & 1;
      if (state == State::kReconcile && pending && !setting_.late) return;
      Add("due", Fate::kFair, Take(world_, rotation::Due{}, kAfter));
      return;
    }
  }
}

std::vector<Move> Mover::All() {
  Messages();
  Surroundings();
  Reads();
  Begin();
  if (world_.up) Replies();
  return std::move(moves_);
}

std::vector<Move> Mover::OfAgent() {
  of_agent_ = true;
  Messages();
  Reads();
  Begin();
  if (world_.up) Replies();
  return std::move(moves_);
}

bool IsIdle(const World& world) {
  const bool other = !world.has_other || (world.other.up && !world.other.running);
  return world.up && !world.running && other;
}

std::string DescribeAgent(const Agent& agent) {
  if (!agent.up) return "DOWN";
  return absl::StrCat(agent.running ? StateName(static_cast<State>(agent.row.state)) : "-",
                      agent.stale ? " STALE" : "");
}

}  // namespace

World RotationModel::First() const {
  World world;
  world.has_other = setting_.second_agent;
  if (setting_.first_key) return world;
  world.made = world.current = world.consumer = 1;
  world.alive = world.usable = Bit(1);
  world.swept = true;
  return world;
}

std::vector<Move> RotationModel::MovesFrom(const World& world) const {
  std::vector<Move> moves = Mover(setting_, world).All();
  if (world.has_other) {
    World turned = world;
    Swap(turned);
    for (Move& move : Mover(setting_, turned).OfAgent()) moves.push_back(std::move(move));
  }
  return moves;
}

std::string RotationModel::ViolationIn(const World& world) const {
  if (world.violation == kForeignMinted) return "somebody else's key is taken as the new one";
  if (world.violation == kForgotKey) return "I2 a living key is written off as revoked";
  if (world.violation == kOverLimit) return "I4 more keys than the limit";
  if (world.violation == kTwice) return "I5 a step was taken on what another agent has replaced";
  if (world.consumer != 0 && !Has(world.usable, world.consumer)) {
    return "I1 the consumer holds a key that does not work";
  }
  if (world.retiring != 0 && !world.grace_over && !Has(world.alive, world.retiring)) {
    return "I1 the retiring key died before its grace ended";
  }
  if (world.current != 0 && !Has(world.alive, world.current)) return "I3 the current key is dead";
  if (world.foreign != 0 && world.foreign != kForeignTag && !Has(world.alive, world.foreign)) {
    return "somebody else's key is deleted";
  }
  const bool quiet =
      IsIdle(world) && !world.has_row && world.creates == 0 && world.deletes == 0 && world.swept;
  if (quiet && !IsClean(world)) return "I2 an orphan after the sweep";
  return "";
}

bool RotationModel::IsClean(const World& world) const {
  KeySet expected = world.current == 0 ? KeySet{0} : Bit(world.current);
  if (world.foreign != 0 && world.foreign != kForeignTag) expected |= Bit(world.foreign);
  return IsIdle(world) && !world.has_row && world.creates == 0 && world.deletes == 0 &&
         world.alive == expected;
}

std::string RotationModel::Describe(const World& world) const {
  return absl::StrCat("alive=", absl::Hex(world.alive), " current=", world.current,
                      " retiring=", world.retiring, " pending=", world.pending, " row=",
                      world.has_row ? StateName(static_cast<State>(world.stored.state)) : "-",
                      " memory=", DescribeAgent(world),
                      world.has_other ? absl::StrCat(" other=", DescribeAgent(world.other)) : "",
                      " creates=", absl::Hex(world.creates), " deletes=", absl::Hex(world.deletes));
}

std::string RotationModel::Packed(const World& world) const {
  std::string text;
  text.reserve(80);
  const auto add = [&text](auto value) { Append(text, value); };
  add(world.alive), add(world.usable), add(world.tags), add(world.made), add(world.foreign);
  add(world.creates), add(world.deletes), add(world.current), add(world.retiring);
  add(world.pending), add(world.closed_tags), add(world.has_row), Append(text, world.stored);
  Append(text, static_cast<const Agent&>(world)), add(world.consumer), add(world.grace_over);
  add(world.swept), add(world.attempts), add(world.crashes), add(world.duplicates);
  add(world.faults), add(world.violation), add(world.rotated);
  if (world.has_other) {
    add(world.stale), Append(text, world.view), text += Remembered(world.other);
  }
  return text;
}

}  // namespace keyturn::model

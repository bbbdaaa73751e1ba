// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/scenario.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"
#include "tests/simulation/books.h"
#include "tests/simulation/leak_search.h"

namespace keyturn::simulation {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;
using fakes::ProviderCall;
using fakes::ProviderFault;
using fakes::TokenFault;
using providers::ProviderClass;

constexpr char kKey[] = "app/key";
constexpr char kManager[] = "app/admin";
constexpr char kManagerSecret[] = "fake-manager-secret";
constexpr char kToken[] = "crm/token";
constexpr char kPlain[] = "crm/plain";  // client_credentials
constexpr absl::Duration kGrace = absl::Minutes(5);
constexpr int kActions = 120;

class Scenario {
 public:
  explicit Scenario(uint64_t seed) : dice_(seed * 7919 + 17), house_(Choose(seed)) {}

  Outcome Run();

 private:
  // In [0, n).
  uint64_t Roll(uint64_t n) { return dice_.Uint64() % n; }
  bool Chance(int percent) { return Roll(100) < static_cast<uint64_t>(percent); }
  absl::Duration Up(absl::Duration most) { return most * dice_.Uniform(); }

  KeeperHouse::Options Choose(uint64_t seed);
  void Prepare();
  ProviderFault PickProviderFault(ProviderCall call);
  TokenFault PickTokenFault();
  void Act();
  void ActOfAdministrator();
  void StepClock();
  void Undo();
  void BringKey();
  bool Is(ProviderClass c) const { return class_ == c; }
  // The old key dies with the making of the new one.
  bool EndsTheOld() const { return Is(ProviderClass::kRoll) || Is(ProviderClass::kSelfRoll); }
  void Restart();
  void Live(absl::Duration d);
  void Look();
  void LookAtKeys();
  void LookAtTokens();
  void LookAtCalls();
  void LookForSecrets();
  // Remembers what a caller was told.
  void Told(const absl::Status& status);
  template <class Response>
  void Told(const absl::StatusOr<Response>& response) {
    Told(response.status());
    if (response.ok()) told_.push_back(response->ShortDebugString());
  }
  bool Put(const std::string& name, const std::string& value, const std::string& key_id = "");
  void OnPublish(const lifecycle::PublishedVersion& version);
  void HelpOperator();
  std::optional<std::string> Orphans();
  std::optional<std::string> Unsettled();
  void ExpectBlocked();
  void Settle();
  void Broken(std::string what) {
    if (outcome_.broken.size() < 5) {
      outcome_.broken.push_back(absl::StrCat(absl::FormatTime(house_.clock.WallNow()), " ", what));
    }
  }

  fakes::SeededRandom dice_;
  ProviderClass class_ = ProviderClass::kTagged;
  bool exclusive_ = false;
  bool provable_ = true;  // late and repeated effects can be told for ours
  bool leeway_ = false;
  absl::Duration settle_;
  int fault_percent_ = 0;
  bool peace_ = false;
  int doubts_ = 0;
  std::set<std::string> foreign_;
  // The key handed out before, and until when a consumer may still use it.
  std::string replaced_;
  base::BootTime replaced_until_;
  // An administrator has asked for the older version, and nothing newer was handed out since.
  bool undo_asked_ = false;
  uint32_t limit_ = 0;
  bool limit_enforced_ = true;  // by the provider; else by the agent alone
  bool cramped_ = false;        // the limit leaves no room for a second key
  bool wall_forward_ = false;   // since the last promotion
  bool crashed_ = false;        // likewise
  std::string published_;
  uint64_t published_version_ = 0;
  uint64_t newest_version_ = 0;
  std::set<std::string> given_;
  std::set<std::string> by_hand_;
  int losses_ = 0;
  bool lost_ = false;  // and nobody has brought another key yet
  std::vector<std::string> told_;
  Outcome outcome_;
  KeeperHouse house_;
};

KeeperHouse::Options Scenario::Choose(uint64_t seed) {
  KeeperHouse::Options options;
  options.seed = seed;
  class_ = static_cast<ProviderClass>(Roll(8));
  const bool mints = class_ <= ProviderClass::kListed;
  exclusive_ = Is(ProviderClass::kTagged) ? Chance(20) : mints && Chance(60);
  provable_ = Is(ProviderClass::kTagged) || exclusive_;
  leeway_ = Chance(50);
  fault_percent_ = static_cast<int>(Roll(40));
  settle_ = absl::Seconds(10 + static_cast<int>(Roll(50)));
  providers::Traits& traits = options.provider.traits;
  traits.provider_class = class_;
  traits.key_limit = static_cast<uint32_t>(Roll(2) == 0 || !mints ? 0 : 4 + Roll(6));
  options.provider.enforces_limit = Chance(50);
  options.provider.manager_secret = kManagerSecret;
  cramped_ = traits.key_limit > 0 && !exclusive_ && Chance(20);
  if (cramped_) traits.key_limit = static_cast<uint32_t>(1 + Roll(3));
  limit_ = traits.key_limit;
  limit_enforced_ = options.provider.enforces_limit;
  if (Is(ProviderClass::kDualSlot)) traits.slots = {"key1", "key2"};
  if (!mints && !Is(ProviderClass::kDualSlot)) {
    traits.can_list = (Is(ProviderClass::kChosen) || Is(ProviderClass::kRoll)) && Chance(50);
  }
  options.provider.roll_renames = Is(ProviderClass::kRoll) && traits.can_list;
  traits.settle = settle_;
  traits.propagation = absl::Seconds(20);
  traits.cached_for = Chance(30) ? absl::Minutes(1) : absl::ZeroDuration();
  // A key that replaces itself cannot do without.
  traits.can_verify = Chance(80) || Is(ProviderClass::kSelfRoll);
  options.provider.works_after = traits.can_verify ? Up(absl::Seconds(15)) : absl::ZeroDuration();
  options.provider.listed_after = mints ? Up(settle_ / 3) : absl::ZeroDuration();
  options.provider.latency = Up(absl::Seconds(2));
  options.endpoint.latency = Up(absl::Seconds(2));
  options.endpoint.lifetime = absl::Seconds(60 + static_cast<int>(Roll(1200)));
  options.endpoint.leeway = leeway_ ? absl::Minutes(1) : absl::ZeroDuration();
  outcome_.summary =
      absl::StrCat("class ", ProviderClassName(class_), exclusive_ ? " exclusive" : "", " limit ",
                   traits.key_limit, options.provider.enforces_limit ? "" : " (stated only)",
                   cramped_ ? " cramped" : "", " faults ", fault_percent_, "%",
                   traits.can_verify ? "" : " no verify", leeway_ ? " leeway" : "");
  return options;
}

void Scenario::Prepare() {
  house_.sink.on_publish = [this](const lifecycle::PublishedVersion& v) { OnPublish(v); };
  if (!exclusive_ && class_ <= ProviderClass::kListed) {
    for (uint64_t i = cramped_ ? limit_ - 1 : Roll(3); i > 0; --i)
      foreign_.insert(house_.provider->AddForeignKey());
    house_.Advance(absl::Minutes(1));  // they are listed by now
  }
  const std::string oauth =
      "    oauth:\n      token_url: https://crm.example.com/token\n      client_auth: none\n";
  const absl::Status applied = house_.Apply(absl::StrCat(
      "providers:\n  p: { recipe: fake, manager: app/admin }\n"
      "credentials:\n  app/admin: { static: {} }\n  app/key: { provider: p, rotate: { every: 6h, "
      "grace: 5m }, exclusive: ",
      exclusive_ || Is(ProviderClass::kDualSlot) ? "true" : "false",
      EndsTheOld() ? ", allow_gap: true" : "",
      Is(ProviderClass::kSelfRoll) ? ", accept_loss: true" : "", " }\n  crm/token:\n", oauth,
      "      grant: refresh_token\n      client_id: app\n      refresh_token: rotates\n",
      leeway_ ? "      leeway: 1m\n" : "", "  crm/plain:\n", oauth,
      "      grant: client_credentials\n      client_id: plain\n"));
  if (!applied.ok()) Broken(applied.ToString());
  if (!Put(kManager, kManagerSecret)) Broken("cannot put");
  if (!Put(kToken, house_.endpoint.NewGrant("app"))) Broken("cannot put");
  BringKey();
  house_.provider->SetFaults([this](ProviderCall call) { return PickProviderFault(call); });
  house_.endpoint.SetFaults([this] { return PickTokenFault(); });
}

ProviderFault Scenario::PickProviderFault(ProviderCall call) {
  ProviderFault fault;
  if (peace_ || !Chance(fault_percent_)) return fault;
  using Kind = ProviderFault::Kind;
  std::vector<Kind> kinds = {Kind::kLoseReply, Kind::kLoseRequest, Kind::kTransient,
                             Kind::kUnreadable, Kind::kLateEffect};
  if (call == ProviderCall::kCreate) kinds.push_back(Kind::kRefuse);
  if (provable_ || call != ProviderCall::kCreate) kinds.push_back(Kind::kDuplicateEffect);
  fault.kind = kinds[Roll(kinds.size())];
  // Nobody could tell what comes later than promised; where tags or exclusiveness prove it, it may.
  fault.late_by = Up(provable_ ? absl::Minutes(5) : settle_ / 3);
  fault.retry_after = Chance(30) ? Up(absl::Minutes(1)) : absl::ZeroDuration();
  return fault;
}

TokenFault Scenario::PickTokenFault() {
  TokenFault fault;
  if (peace_ || !Chance(fault_percent_)) return fault;
  using Kind = TokenFault::Kind;
  const Kind kinds[] = {Kind::kLoseReply,   Kind::kLoseRequest, Kind::kLateEffect,
                        Kind::kServerError, Kind::kFailAfter,   Kind::kTransient,
                        Kind::kProxyPage,   Kind::kRefuseClient};
  fault.kind = kinds[Roll(std::size(kinds))];
  fault.late_by = Up(absl::Seconds(20));
  if (fault.kind != Kind::kTransient && fault.kind != Kind::kProxyPage &&
      fault.kind != Kind::kRefuseClient) {
    ++doubts_;
  }
  return fault;
}

void Scenario::OnPublish(const lifecycle::PublishedVersion& version) {
  const base::Secret* value = version.value.Primary();
  if (version.name != kKey || value == nullptr) return;
  const std::string key(value->Reveal());
  if (version.version < published_version_ && !undo_asked_) {
    Broken("an older version is handed out again");
  }
  if (version.version > newest_version_) undo_asked_ = false;
  newest_version_ = std::max(newest_version_, version.version);
  if (key == published_) return;
  if (!house_.provider->Works(key) && !EndsTheOld()) {
    Broken(absl::StrCat("I1 ", key, " does not work yet"));
  }
  replaced_ = published_;
  replaced_until_ = house_.clock.BootNow() + kGrace;
  wall_forward_ = crashed_ = false;
  lost_ = false;
  given_.insert(key);
  published_ = key;
  published_version_ = version.version;
  ++outcome_.rotations;
}

void Scenario::LookAtKeys() {
  // Where the new key ends the old one, there is a gap.
  if (EndsTheOld()) return;
  if (!published_.empty() && !house_.provider->Works(published_)) {
    Broken(absl::StrCat("I3 the current key ", published_, " is dead"));
  }
  // After a restart only the clock that can be set remembers how long the grace was to be.
  const bool grace_known = !(wall_forward_ && crashed_);
  if (!replaced_.empty() && house_.clock.BootNow() < replaced_until_ && grace_known &&
      !house_.provider->Works(replaced_)) {
    Broken(absl::StrCat("I1 ", replaced_, " died within its grace"));
  }
  for (const auto& key : house_.provider->keys()) {
    if (Is(ProviderClass::kManual)) break;  // deactivated after their grace
    if (foreign_.count(key.id) != 0 && !key.exists()) Broken("somebody else's key was deleted");
  }
}

void Scenario::LookAtTokens() {
  for (const char* name : {kToken, kPlain}) {
    const auto found = house_.sink.versions.find(name);
    if (found == house_.sink.versions.end() || found->second.version == 0) continue;
    const bool handed_out = house_.clock.BootNow() < found->second.expires;
    const bool ended = name == std::string(kToken) && !house_.endpoint.GrantAlive("app");
    if (handed_out && !ended && !house_.endpoint.Accepts(house_.Published(name))) {
      Broken(absl::StrCat("an expired token of ", name, " is handed out"));
    }
  }
  if (house_.endpoint.most_in_flight() > 1) Broken("two token requests at once");
  if (house_.endpoint.replays() > doubts_) Broken("a refresh token replayed without doubt");
}

// What the provider saw of the agent's calls.
void Scenario::LookAtCalls() {
  const fakes::FakeProvider& provider = *house_.provider;
  if (limit_ > 0 && provider.most_expected_keys() > limit_) {
    Broken(absl::StrCat("I4 ", provider.most_expected_keys(), " keys, the limit is ", limit_));
  }
  if (provider.most_in_flight(ProviderCall::kCreate) > 1) Broken("I5 two creates at once");
  if (provider.most_in_flight(ProviderCall::kRevoke) > 1) Broken("I5 two revokes at once");
  // One whose outcome is unknown is under way until the provider's `settle` is over.
  // Stored times are whole microseconds.
  if (provider.shortest_wait_in_doubt() < settle_ - absl::Milliseconds(1)) {
    Broken(absl::StrCat("I5 a create ", absl::FormatDuration(provider.shortest_wait_in_doubt()),
                        " after one in doubt; settle is ", absl::FormatDuration(settle_)));
  }
}

// I6, over the whole life at once.
void Scenario::LookForSecrets() {
  LeakSearch search;
  for (const std::string& secret : house_.provider->secrets()) search.Add(secret);
  for (const std::string& token : house_.endpoint.issued()) search.Add(token);
  const auto look = [&](const char* where, absl::string_view text) {
    if (const auto found = search.Find(text)) Broken(absl::StrCat("I6 ", where, ": ", *found));
  };
  for (const observe::OpenFailure& open : house_.failures().List()) {
    told_.push_back(absl::StrCat(open.failure.cause, " ", open.failure.detail));
  }
  for (const char* name : {kManager, kKey, kToken, kPlain}) {
    Told(house_.Describe(name));
    v1::HistoryRequest request;
    request.set_name(name);
    request.set_limit(200);
    house_.keeper().History(
        request, [this](const absl::StatusOr<v1::HistoryResponse>& history) { Told(history); });
  }
  house_.Advance(absl::ZeroDuration());
  look("the log", absl::StrJoin(outcome_.log, "\n"));
  look("what callers were told", absl::StrJoin(told_, "\n"));
  std::string rows;
  const auto scanned = house_.store.backend().Scan("");
  if (!scanned.ok()) return Broken("the store cannot be scanned");
  for (const store::Entry& entry : *scanned) absl::StrAppend(&rows, entry.key, "\n", entry.value);
  look("the store", rows);
}

void Scenario::Told(const absl::Status& status) {
  if (status.ok()) return;
  told_.push_back(status.ToString());
  for (const auto& [key, value] : base::MetadataOf(status)) told_.push_back(value);
}

bool Scenario::Put(const std::string& name, const std::string& value, const std::string& key_id) {
  v1::PutRequest request;
  request.set_name(name);
  request.add_fields()->set_value(value);
  request.set_provider_key_id(key_id);
  // A value that is verified first is answered later.
  auto done = std::make_shared<bool>(false);
  house_.keeper().Put(std::move(request),
                      [this, done](const absl::StatusOr<v1::PutResponse>& response) {
                        Told(response);
                        *done = response.ok();
                      });
  house_.Advance(absl::ZeroDuration());
  return *done;
}

void Scenario::Look() {
  LookAtKeys();
  LookAtTokens();
}

void Scenario::Live(absl::Duration d) {
  const base::BootTime end = house_.clock.BootNow() + d;
  while (house_.Step(end - house_.clock.BootNow())) Look();
  house_.Advance(end - house_.clock.BootNow());
  Look();
}

void Scenario::Restart() {
  house_.store.faults().FailAllCommits(std::nullopt);
  // While the agent is down nobody gets a new key, so a grace that ends then is nobody's fault.
  if (absl::Status status = house_.Start(); !status.ok()) {
    Broken(absl::StrCat("does not start: ", status.ToString()));
  }
}

void Scenario::ActOfAdministrator() {
  switch (Roll(6)) {
    case 4:
      return Undo();
    case 5:
      return BringKey();
    case 0: {
      v1::RotateRequest request;
      request.set_name(kKey);
      house_.keeper().Rotate(
          std::move(request),
          [this](const v1::RotateResponse& step) { told_.push_back(step.ShortDebugString()); },
          [this](const absl::Status& status) { Told(status); });
      return;
    }
    case 1: {
      v1::RefreshRequest request;
      request.set_name(Chance(50) ? kToken : kPlain);
      house_.keeper().Refresh(std::move(request),
                              [this](const absl::StatusOr<v1::RefreshResponse>& r) { Told(r); });
      return;
    }
    case 2:
      for (uint64_t i = Roll(20); i > 0; --i) {
        house_.keeper().EnsureFresh(Chance(50) ? kToken : kPlain, Up(absl::Seconds(40)),
                                    [this](const absl::Status& status) { Told(status); });
      }
      return;
    case 3:
      // A person gives a new grant where the old one has ended.
      if (!house_.endpoint.GrantAlive("app")) {
        Put(kToken, house_.endpoint.NewGrant("app"));
      }
      return;
  }
}

// Somebody sets the date. Forward, that cuts short every wait that has to outlast a restart, so
// only where late effects can be told for ours.
void Scenario::StepClock() {
  if (provable_ && (limit_ == 0 || limit_enforced_) && Chance(50)) {
    house_.clock.StepWall(Up(absl::Hours(2)));
    wall_forward_ = true;
  } else {
    house_.clock.StepWall(-Up(absl::Minutes(10)));
  }
}

void Scenario::Undo() {
  v1::UndoRequest request;
  request.set_name(kKey);
  // It is handed out before the answer comes, and a crash can take the answer away. UNAVAILABLE:
  // the store did not take it yet, and the agent goes on trying.
  const bool before = std::exchange(undo_asked_, true);
  house_.keeper().Undo(request, [this, before](const absl::StatusOr<v1::UndoResponse>& response) {
    Told(response);
    if (!response.ok() && !absl::IsUnavailable(response.status())) undo_asked_ = before;
  });
}

// The person behind a key that Keyturn cannot make: the first one, the next one of a manual
// provider, and one in the place of a key that was lost.
void Scenario::BringKey() {
  const bool manual = Is(ProviderClass::kManual);
  const auto described = house_.Describe(kKey);
  const bool has_key = described.ok() && described->summary().current_version() != 0;
  if (!manual && !(EndsTheOld() && !has_key)) return;
  if (described.ok() && !described->rotation().state().empty()) return;
  if (!published_.empty() && !has_key && !std::exchange(lost_, true)) ++losses_;
  const auto [id, value] = house_.provider->MakeKeyByHand();
  if (Is(ProviderClass::kManual)) foreign_.insert(id);  // deleted when it has had its time
  const std::string text(value.Primary()->Reveal());
  by_hand_.insert(text);
  Put(kKey, text, id);
}

void Scenario::Act() {
  const uint64_t what = Roll(100);
  if (what < 3) {
    StepClock();
  } else if (what < 8) {
    house_.Crash();
    crashed_ = true;
    ++outcome_.crashes;
    ++doubts_;  // an exchange may have been under way
    Live(Up(absl::Minutes(Chance(80) ? 1 : 20)));
    Restart();
  } else if (what < 16) {
    const CommitFault faults[] = {CommitFault::kDiskFull, CommitFault::kBrokenDisk,
                                  CommitFault::kUnknownBefore, CommitFault::kUnknownAfter};
    house_.store.faults().FailCommit(1 + Roll(4), faults[Roll(4)]);
  } else if (what < 20) {
    house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
    Live(Up(absl::Minutes(2)));
    house_.store.faults().FailAllCommits(std::nullopt);
  } else if (what < 50) {
    ActOfAdministrator();
    Live(Up(absl::Seconds(5)));
  } else if (what < 80) {
    Live(Up(absl::Seconds(30)));
  } else {
    Live(Up(absl::Minutes(15)));
  }
  HelpOperator();
}

// The person who is called when keys cannot be told apart deletes what nobody made.
void Scenario::HelpOperator() {
  if (Is(ProviderClass::kSelfRoll)) BringKey();
  if (house_.RotationState(kKey) != "operator") return;
  const auto described = house_.Describe(kKey);
  std::set<std::string> known = foreign_;
  for (const auto& version : described->versions()) known.insert(version.provider_key_id());
  for (const auto& key : house_.provider->existing_keys()) {
    if (known.count(key.id) == 0) house_.provider->DeleteKey(key.id);
  }
}

// What is not in order yet.
std::optional<std::string> Scenario::Unsettled() {
  for (const char* name : {kToken, kPlain}) {
    if (!house_.endpoint.Accepts(house_.Published(name))) {
      return absl::StrCat("no valid token of ", name);
    }
  }
  if (published_.empty()) return "there is still no key";
  // A refresh that was cut off is in doubt until its token's hard point.
  for (const observe::OpenFailure& open : house_.failures().List()) {
    if (open.failure.code == observe::FailureCode::kRefreshInDoubt) return "a refresh is in doubt";
  }
  if (!house_.provider->Works(published_)) return "the current key is dead";
  return Orphans();
}

// What differs between the provider and the ledger, once nothing is under way.
std::optional<std::string> Scenario::Orphans() {
  const auto described = house_.Describe(kKey);
  if (!described.ok()) return described.status().ToString();
  return Disagreement({class_, *described, house_.provider->existing_keys(), foreign_, by_hand_,
                       given_, published_, house_.provider->calls(ProviderCall::kCreate), losses_});
}

// Where there is room for one key only, the agent keeps it, and says what is the matter.
void Scenario::ExpectBlocked() {
  for (const observe::OpenFailure& open : house_.failures().List()) {
    if (open.failure.code == observe::FailureCode::kRotationBlockedLimit) return;
  }
  Broken("I4 no room for a second key, and nobody says so");
}

void Scenario::Settle() {
  peace_ = true;
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.store.faults().FailCommit(1'000'000'000, CommitFault::kDiskFull);
  std::optional<std::string> wrong = "not looked";
  for (int i = 0; i < 30 && wrong; ++i) {
    // Doubt may have ended the grant: then a person gives a new one.
    if (!house_.endpoint.Accepts(house_.Published(kToken)) &&
        !Put(kToken, house_.endpoint.NewGrant("app"))) {
      Broken("cannot put");
    }
    Live(absl::Minutes(10));
    HelpOperator();
    wrong = Unsettled();
  }
  if (wrong) Broken(*wrong);
  // From here on nothing ever goes wrong again by itself.
  BringKey();
  const uint64_t before = published_version_;
  const int replays = house_.endpoint.replays();
  Live(absl::Hours(8));
  if (cramped_) {
    ExpectBlocked();
  } else if (published_version_ == before && !Is(ProviderClass::kManual)) {
    Broken("rotation has stopped");
  }
  // Where the server accepts the previous token for a while, a request that was on its way when the
  // peace began can come after its own repetition, and spend the token that this one brought.
  if (house_.endpoint.replays() != replays && !(leeway_ && replays < doubts_)) {
    Broken("a refresh token replayed in peace");
  }
  if (house_.endpoint.GrantAlive("app") && !house_.endpoint.Accepts(house_.Published(kToken))) {
    Broken("refreshing has stopped");
  }
}

Outcome Scenario::Run() {
  const base::BootTime born = house_.clock.BootNow();
  Prepare();
  for (int i = 0; i < kActions && outcome_.broken.empty(); ++i) {
    Act();
    LookAtCalls();
  }
  if (outcome_.broken.empty()) Settle();
  LookAtCalls();
  outcome_.lived = house_.clock.BootNow() - born;
  outcome_.refreshes = house_.endpoint.requests();
  outcome_.log = house_.log.lines();
  LookForSecrets();
  return outcome_;
}

}  // namespace

Outcome RunScenario(uint64_t seed) { return Scenario(seed).Run(); }

}  // namespace keyturn::simulation

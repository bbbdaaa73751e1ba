// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/scenario.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::simulation {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;
using fakes::ProviderCall;
using fakes::ProviderFault;
using fakes::TokenFault;
using providers::ProviderClass;

constexpr char kKey[] = "app/key";
constexpr char kToken[] = "crm/token";
constexpr char kPlain[] = "crm/plain";  // client_credentials
constexpr absl::Duration kGrace = absl::Minutes(5);
constexpr int kActions = 120;
constexpr absl::Duration kLongestToken = absl::Hours(3);  // and the longest step

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
  void OnPublish(const lifecycle::PublishedVersion& version);
  void HelpOperator();
  std::optional<std::string> Orphans();
  std::optional<std::string> Unsettled();
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
  // Expiries are stored by the clock that can be set, so a restart soon after that may err.
  base::BootTime stepped_at_{-absl::InfiniteDuration()};
  base::BootTime tokens_doubtful_until_{-absl::InfiniteDuration()};
  bool undone_ = false;        // versions may go back
  bool wall_forward_ = false;  // since the last promotion
  bool crashed_ = false;       // likewise
  std::string published_;
  uint64_t published_version_ = 0;
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
                   traits.key_limit, " faults ", fault_percent_, "%",
                   traits.can_verify ? "" : " no verify", leeway_ ? " leeway" : "");
  return options;
}

void Scenario::Prepare() {
  house_.sink.on_publish = [this](const lifecycle::PublishedVersion& v) { OnPublish(v); };
  if (!exclusive_ && class_ <= ProviderClass::kListed) {
    for (uint64_t i = Roll(3); i > 0; --i) foreign_.insert(house_.provider->AddForeignKey());
    house_.Advance(absl::Minutes(1));  // they are listed by now
  }
  const std::string oauth =
      "    oauth:\n      token_url: https://crm.example.com/token\n      client_auth: none\n";
  const absl::Status applied = house_.Apply(absl::StrCat(
      "providers:\n  p: { recipe: fake }\n"
      "credentials:\n  app/key: { provider: p, rotate: { every: 6h, grace: 5m }, exclusive: ",
      exclusive_ || Is(ProviderClass::kDualSlot) ? "true" : "false",
      EndsTheOld() ? ", allow_gap: true" : "",
      Is(ProviderClass::kSelfRoll) ? ", accept_loss: true" : "", " }\n  crm/token:\n", oauth,
      "      grant: refresh_token\n      client_id: app\n      refresh_token: rotates\n",
      leeway_ ? "      leeway: 1m\n" : "", "  crm/plain:\n", oauth,
      "      grant: client_credentials\n      client_id: plain\n"));
  if (!applied.ok()) Broken(applied.ToString());
  if (!house_.Put(kToken, house_.endpoint.NewGrant("app")).ok()) Broken("cannot put");
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
  if (version.version < published_version_ && !undone_) {
    Broken("an older version is handed out again");
  }
  if (key == published_) return;
  if (!house_.provider->Works(key) && !EndsTheOld()) {
    Broken(absl::StrCat("I1 ", key, " does not work yet"));
  }
  replaced_ = published_;
  replaced_until_ = house_.clock.BootNow() + kGrace;
  wall_forward_ = crashed_ = false;
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
    const bool doubtful = house_.clock.BootNow() < tokens_doubtful_until_;
    if (handed_out && !ended && !doubtful && !house_.endpoint.Accepts(house_.Published(name))) {
      Broken(absl::StrCat("an expired token of ", name, " is handed out"));
    }
  }
  if (house_.endpoint.most_in_flight() > 1) Broken("two token requests at once");
  if (house_.endpoint.replays() > doubts_) Broken("a refresh token replayed without doubt");
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
  const base::BootTime now = house_.clock.BootNow();
  if (now - stepped_at_ < kLongestToken) tokens_doubtful_until_ = now + kLongestToken;
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
          std::move(request), [](v1::RotateResponse) {}, [](absl::Status) {});
      return;
    }
    case 1: {
      v1::RefreshRequest request;
      request.set_name(Chance(50) ? kToken : kPlain);
      house_.keeper().Refresh(std::move(request), [](absl::StatusOr<v1::RefreshResponse>) {});
      return;
    }
    case 2:
      for (uint64_t i = Roll(20); i > 0; --i) {
        house_.keeper().EnsureFresh(Chance(50) ? kToken : kPlain, Up(absl::Seconds(40)),
                                    [](absl::Status) {});
      }
      return;
    case 3:
      // A person gives a new grant where the old one has ended.
      if (!house_.endpoint.GrantAlive("app")) {
        (void)house_.Put(kToken, house_.endpoint.NewGrant("app"));
      }
      return;
  }
}

// Somebody sets the date. Forward, that cuts short every wait that has to outlast a restart, so
// only where late effects can be told for ours.
void Scenario::StepClock() {
  stepped_at_ = house_.clock.BootNow();
  if (provable_ && Chance(50)) {
    house_.clock.StepWall(Up(absl::Hours(2)));
    wall_forward_ = true;
  } else {
    house_.clock.StepWall(-Up(absl::Minutes(10)));
  }
}

void Scenario::Undo() {
  v1::UndoRequest request;
  request.set_name(kKey);
  house_.keeper().Undo(request, [](const absl::StatusOr<v1::UndoResponse>&) {});
  undone_ = true;
}

// The person behind a key that Keyturn cannot make: the first one, the next one of a manual
// provider, and one in the place of a key that was lost.
void Scenario::BringKey() {
  const bool manual = Is(ProviderClass::kManual);
  const auto described = house_.Describe(kKey);
  const bool has_key = described.ok() && described->summary().current_version() != 0;
  if (!manual && !(EndsTheOld() && !has_key)) return;
  if (described.ok() && !described->rotation().state().empty()) return;
  const auto [id, value] = house_.provider->MakeKeyByHand();
  if (Is(ProviderClass::kManual)) foreign_.insert(id);  // deleted when it has had its time
  (void)house_.Put(kKey, std::string(value.Primary()->Reveal()), id);
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
  if (!described->rotation().state().empty()) {
    return absl::StrCat("a rotation is in state ", described->rotation().state());
  }
  // Slots are never empty, and a key that is rolled in place is one and the same.
  if (Is(ProviderClass::kDualSlot) || EndsTheOld()) return std::nullopt;
  std::set<std::string> known;
  for (const auto& version : described->versions()) {
    if (version.state() == "current" || version.state() == "retiring" ||
        version.state() == "pending") {
      known.insert(version.provider_key_id());
    }
  }
  std::set<std::string> existing;
  for (const auto& key : house_.provider->existing_keys()) {
    if (foreign_.count(key.id) == 0) existing.insert(key.id);
  }
  if (Is(ProviderClass::kManual)) return std::nullopt;  // what a person makes is theirs
  if (existing != known) {
    return absl::StrCat("I2 the provider has ", existing.size(), " of our keys, the ledger knows ",
                        known.size());
  }
  return std::nullopt;
}

void Scenario::Settle() {
  peace_ = true;
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.store.faults().FailCommit(1'000'000'000, CommitFault::kDiskFull);
  std::optional<std::string> wrong = "not looked";
  for (int i = 0; i < 30 && wrong; ++i) {
    // Doubt may have ended the grant: then a person gives a new one.
    if (!house_.endpoint.Accepts(house_.Published(kToken)) &&
        !house_.Put(kToken, house_.endpoint.NewGrant("app")).ok()) {
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
  if (published_version_ == before && !Is(ProviderClass::kManual)) Broken("rotation has stopped");
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
  for (int i = 0; i < kActions && outcome_.broken.empty(); ++i) Act();
  if (outcome_.broken.empty()) Settle();
  outcome_.lived = house_.clock.BootNow() - born;
  outcome_.refreshes = house_.endpoint.requests();
  const std::vector<std::string> lines = house_.log.lines();
  outcome_.log.assign(lines.end() - std::min<std::ptrdiff_t>(25, std::ssize(lines)), lines.end());
  return outcome_;
}

}  // namespace

Outcome RunScenario(uint64_t seed) { return Scenario(seed).Run(); }

}  // namespace keyturn::simulation

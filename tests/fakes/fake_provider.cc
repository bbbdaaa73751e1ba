// SPDX-License-Identifier: Apache-2.0
// The service lives in a shared state that tasks hold on to, so that late effects outlive the
// FakeProvider object.
#include "tests/fakes/fake_provider.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "tests/fakes/servers_time.h"

namespace keyturn::fakes {

using Kind = ProviderFault::Kind;
using base::CredentialValue;
using providers::CallResult;
using providers::ListedKey;
using providers::MintedKey;
using providers::Outcome;
using providers::ProviderClass;

namespace {

CallResult Answer(Outcome outcome, const char* cause, int status) {
  CallResult result;
  result.outcome = outcome;
  result.cause = cause;
  result.http_status = status;
  return result;
}

CallResult Result(const CallResult& answer) { return answer; }
template <class More>
CallResult Result(const std::pair<CallResult, More>& answer) {
  return answer.first;
}

CallResult Ok() { return Answer(Outcome::kOk, "", 200); }

}  // namespace

struct FakeProvider::Service : std::enable_shared_from_this<Service> {
  Service(Options o, base::Clock& c, base::Executor& e)
      : options(std::move(o)), clock(c), executor(e) {}

  // What arriving at the service leads to, and how its answer reaches the caller. `effect` runs
  // with mu held, also when the answer is lost; what it returns answers the caller.
  template <typename Reply>
  struct Call {
    ProviderCall kind;
    absl::AnyInvocable<Reply(Service&)> effect;
    // From a result that carries nothing else.
    absl::AnyInvocable<Reply(CallResult)> bare;
    absl::AnyInvocable<void(Reply)> done;
    ProviderFault fault;
    uint64_t generation = 0;
  };

  template <typename Reply>
  void Start(ProviderCall kind, absl::AnyInvocable<Reply(Service&)> effect,
             absl::AnyInvocable<Reply(CallResult)> bare, absl::AnyInvocable<void(Reply)> done) {
    auto call = std::make_shared<Call<Reply>>();
    call->kind = kind;
    call->effect = std::move(effect);
    call->bare = std::move(bare);
    call->done = std::move(done);
    absl::Duration arrives = options.latency;
    {
      absl::MutexLock lock(&mu);
      ++calls[kind];
      call->fault = NextFault(kind);
      NoteSent(kind);
      call->generation = generation;
    }
    if (call->fault.kind == Kind::kLateEffect) arrives += call->fault.late_by;
    executor.After(arrives, [self = shared_from_this(), call] { self->Arrive(*call, call); });
    if (Lost(call->fault.kind)) {
      executor.After(options.timeout, [self = shared_from_this(), call] {
        // Calls that change nothing can simply be made again.
        const bool changes =
            call->kind == ProviderCall::kCreate || call->kind == ProviderCall::kRevoke;
        self->Reply(*call, call->bare(Answer(changes ? Outcome::kUnknown : Outcome::kTransient,
                                             "timeout", 0)));
      });
    }
  }

  struct Moment {
    absl::Time wall;
    base::BootTime boot;
  };

  static bool Lost(Kind kind) {
    return kind == Kind::kLoseReply || kind == Kind::kLoseRequest || kind == Kind::kLateEffect;
  }

  template <typename Answered>
  void Arrive(Call<Answered>& call, std::shared_ptr<Call<Answered>> keep) {
    std::optional<Answered> answer;
    {
      absl::MutexLock lock(&mu);
      switch (call.fault.kind) {
        case Kind::kLoseRequest:
          return;
        case Kind::kRefuse:
          answer = call.bare(Answer(Outcome::kRejected, "http_403", 403));
          break;
        case Kind::kTransient: {
          CallResult result = Answer(Outcome::kTransient, "http_503", 503);
          result.retry_after = call.fault.retry_after;
          answer = call.bare(result);
          break;
        }
        case Kind::kDuplicateEffect:
          unexpected = true;
          call.effect(*this);
          unexpected = false;
          answer = call.effect(*this);
          break;
        case Kind::kLateEffect:
          unexpected =
              options.latency + call.fault.late_by + options.listed_after >= options.traits.settle;
          call.effect(*this);
          unexpected = false;
          return;
        case Kind::kUnreadable:
          call.effect(*this);
          answer = call.bare(Answer(Outcome::kUnknown, "unreadable_reply", 200));
          break;
        default:
          answer = call.effect(*this);
      }
    }
    if (Lost(call.fault.kind)) return;
    executor.After(options.latency,
                   [self = shared_from_this(), keep, answer = std::move(*answer)]() mutable {
                     self->Reply(*keep, std::move(answer));
                   });
  }

  template <typename Answered>
  void Reply(Call<Answered>& call, Answered answer) {
    {
      absl::MutexLock lock(&mu);
      if (call.generation != generation) return;
      --in_flight[call.kind];
      if (call.kind == ProviderCall::kCreate && Result(answer).outcome == Outcome::kUnknown) {
        doubtful_since = Moment{clock.WallNow(), clock.BootNow()};
      }
    }
    call.done(std::move(answer));
  }

  void NoteSent(ProviderCall kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    most_in_flight[kind] = std::max(most_in_flight[kind], ++in_flight[kind]);
    if (kind != ProviderCall::kCreate || !doubtful_since) return;
    const absl::Duration waited =
        std::max(clock.WallNow() - doubtful_since->wall, clock.BootNow() - doubtful_since->boot);
    shortest_wait_in_doubt = std::min(shortest_wait_in_doubt, waited);
    doubtful_since.reset();
  }

  ProviderFault NextFault(ProviderCall kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    auto& queue = injected[kind];
    if (!queue.empty()) {
      ProviderFault fault = queue.front();
      queue.pop_front();
      return fault;
    }
    return pick_fault ? pick_fault(kind) : ProviderFault{};
  }

  bool MayManage(const CredentialValue& manager) const {
    if (options.manager_secret.empty()) return true;
    const base::Secret* secret = manager.Primary();
    return secret != nullptr && secret->Reveal() == options.manager_secret;
  }

  size_t ExistingCount() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return static_cast<size_t>(
        std::count_if(keys.begin(), keys.end(), [](const Key& key) { return key.exists(); }));
  }
  size_t ExpectedCount() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return static_cast<size_t>(std::count_if(
        keys.begin(), keys.end(), [](const Key& key) { return key.exists() && !key.unexpected; }));
  }

  Key& AddKey(const std::string& tag, bool foreign) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const size_t number = keys.size() + 1;
    Key key;
    key.id = absl::StrCat("id-", number);
    key.value = absl::StrCat(options.key_prefix, "key-", number);
    if (options.traits.provider_class == ProviderClass::kTagged) key.tag = tag;
    key.created_at = ServersNow(clock);
    key.foreign = foreign;
    key.unexpected = unexpected;
    keys.push_back(key);
    most_keys = std::max(most_keys, ExistingCount());
    most_expected_keys = std::max(most_expected_keys, ExpectedCount());
    return keys.back();
  }

  Key* Existing(absl::string_view id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    for (Key& key : keys) {
      if (key.id == id && key.exists()) return &key;
    }
    return nullptr;
  }

  // A new value under the id of the old one, which ends.
  Key& Renew(Key& old, bool foreign) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const std::string id = old.id;
    old.deleted_at = ServersNow(clock);
    Key& key = AddKey("", foreign);
    key.id = id;
    return key;
  }

  // Null: refused.
  const Key* Make(const providers::NewKey& wanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    switch (options.traits.provider_class) {
      case ProviderClass::kChosen: {
        const std::string value(wanted.secret.Reveal());
        for (Key& key : keys) {
          if (key.value != value) continue;
          if (!key.exists()) key.created_at = ServersNow(clock);
          key.deleted_at.reset();
          return &key;
        }
        Key& key = AddKey("", false);
        key.value = value;
        return &key;
      }
      case ProviderClass::kDualSlot:
      case ProviderClass::kRoll: {
        Key* old = Existing(wanted.target);
        if (old == nullptr) return nullptr;
        if (!options.roll_renames) return &Renew(*old, false);
        old->deleted_at = ServersNow(clock);
        return &AddKey("", false);
      }
      case ProviderClass::kSelfRoll: {
        const base::Secret* current = wanted.current.Primary();
        for (Key& key : keys) {
          if (current == nullptr || key.value != current->Reveal()) continue;
          if (key.exists()) return &Renew(key, false);
          // As at GitLab: whoever uses a key that was replaced ends the one that replaced it.
          if (Key* newer = Existing(key.id)) newer->deleted_at = ServersNow(clock);
          return nullptr;
        }
        return nullptr;
      }
      default:
        return &AddKey(wanted.tag, false);
    }
  }

  bool Accepts(const Key& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const absl::Time now = ServersNow(clock);
    if (now < key.created_at + options.works_after) return false;
    if (options.key_lifetime > absl::ZeroDuration() &&
        now >= key.created_at + options.key_lifetime) {
      return false;
    }
    return key.exists() || now < *key.deleted_at + options.traits.cached_for;
  }

  bool WorksLocked(absl::string_view value) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return std::any_of(keys.begin(), keys.end(), [&](const Key& key) {
      mu.AssertHeld();
      return key.value == value && Accepts(key);
    });
  }

  const Options options;
  base::Clock& clock;
  base::Executor& executor;
  mutable absl::Mutex mu;
  std::vector<Key> keys ABSL_GUARDED_BY(mu);
  size_t most_keys ABSL_GUARDED_BY(mu) = 0;
  size_t most_expected_keys ABSL_GUARDED_BY(mu) = 0;
  // The effect that happens now is one that nobody could expect.
  bool unexpected ABSL_GUARDED_BY(mu) = false;
  // Chosen by the caller.
  std::vector<std::string> chosen ABSL_GUARDED_BY(mu);
  std::map<ProviderCall, int> in_flight ABSL_GUARDED_BY(mu);
  std::map<ProviderCall, int> most_in_flight ABSL_GUARDED_BY(mu);
  std::optional<Moment> doubtful_since ABSL_GUARDED_BY(mu);
  absl::Duration shortest_wait_in_doubt ABSL_GUARDED_BY(mu) = absl::InfiniteDuration();
  std::map<ProviderCall, int> calls ABSL_GUARDED_BY(mu);
  std::map<ProviderCall, std::deque<ProviderFault>> injected ABSL_GUARDED_BY(mu);
  absl::AnyInvocable<ProviderFault(ProviderCall)> pick_fault ABSL_GUARDED_BY(mu);
  // Calls of an older generation answer nobody.
  uint64_t generation ABSL_GUARDED_BY(mu) = 0;
};

FakeProvider::FakeProvider(Options options, base::Clock& clock, base::Executor& executor)
    : service_(std::make_shared<Service>(std::move(options), clock, executor)) {
  absl::MutexLock lock(&service_->mu);
  for (const std::string& slot : service_->options.traits.slots) {
    service_->AddKey("", true).id = slot;
  }
}

const providers::Traits& FakeProvider::traits() const { return service_->options.traits; }

void FakeProvider::Create(const CredentialValue& manager, const providers::NewKey& wanted,
                          CreateDone done) {
  KEYTURN_CHECK(wanted.tag.size() <= traits().tag_max_length,
                "the tag is longer than the provider takes");
  if (!wanted.secret.empty()) {
    absl::MutexLock lock(&service_->mu);
    service_->chosen.emplace_back(wanted.secret.Reveal());
  }
  using Reply = std::pair<CallResult, std::optional<MintedKey>>;
  service_->Start<Reply>(
      ProviderCall::kCreate,
      [manager, wanted](Service& service) -> Reply {
        service.mu.AssertHeld();
        if (!service.MayManage(manager)) {
          return {Answer(Outcome::kRejected, "http_401", 401), std::nullopt};
        }
        const uint32_t limit = service.options.traits.key_limit;
        if (service.options.enforces_limit && limit > 0 && service.ExistingCount() >= limit) {
          return {Answer(Outcome::kLimited, "http_400", 400), std::nullopt};
        }
        const Key* key = service.Make(wanted);
        if (key == nullptr) return {Answer(Outcome::kRejected, "http_404", 404), std::nullopt};
        MintedKey minted;
        minted.id = key->id;
        minted.value = CredentialValue::Of(base::Secret(key->value));
        if (service.options.key_lifetime != absl::ZeroDuration()) {
          minted.expires_at = service.clock.WallNow() + service.options.key_lifetime;
        }
        return {Ok(), std::move(minted)};
      },
      [](CallResult result) -> Reply {
        return {std::move(result), std::nullopt};
      },
      [done = std::move(done)](Reply reply) mutable {
        done(std::move(reply.first), std::move(reply.second));
      });
}

void FakeProvider::List(const CredentialValue& manager, ListDone done) {
  using Reply = std::pair<CallResult, std::vector<ListedKey>>;
  service_->Start<Reply>(
      ProviderCall::kList,
      [manager](Service& service) -> Reply {
        service.mu.AssertHeld();
        if (!service.MayManage(manager)) return {Answer(Outcome::kRejected, "http_401", 401), {}};
        std::vector<ListedKey> listed;
        for (const Key& key : service.keys) {
          const absl::Time from = key.created_at + service.options.listed_after;
          if (!key.exists() || ServersNow(service.clock) < from) continue;
          ListedKey entry;
          entry.id = key.id;
          entry.tag = key.tag;
          if (service.options.traits.provider_class == ProviderClass::kListed ||
              service.options.traits.provider_class == ProviderClass::kDualSlot) {
            entry.value = CredentialValue::Of(base::Secret(key.value));
          }
          listed.push_back(std::move(entry));
        }
        return {Ok(), std::move(listed)};
      },
      [](CallResult result) -> Reply {
        return {std::move(result), {}};
      },
      [done = std::move(done)](Reply reply) mutable {
        done(std::move(reply.first), std::move(reply.second));
      });
}

void FakeProvider::Verify(const CredentialValue& key, Done done) {
  service_->Start<CallResult>(
      ProviderCall::kVerify,
      [key](Service& service) {
        service.mu.AssertHeld();
        const base::Secret* secret = key.Primary();
        const bool works = secret != nullptr && service.WorksLocked(secret->Reveal());
        return works ? Ok() : Answer(Outcome::kRejected, "http_401", 401);
      },
      [](CallResult result) { return result; }, std::move(done));
}

void FakeProvider::Revoke(const CredentialValue& manager, const std::string& key_id,
                          const CredentialValue&, Done done) {
  service_->Start<CallResult>(
      ProviderCall::kRevoke,
      [manager, key_id](Service& service) {
        service.mu.AssertHeld();
        if (!service.MayManage(manager)) return Answer(Outcome::kRejected, "http_401", 401);
        Key* key = service.Existing(key_id);
        if (key == nullptr) return Answer(Outcome::kOk, "", 404);
        if (service.options.traits.provider_class == ProviderClass::kDualSlot) {
          service.Renew(*key, true);
        } else {
          key->deleted_at = ServersNow(service.clock);
        }
        return Ok();
      },
      [](CallResult result) { return result; }, std::move(done));
}

void FakeProvider::InjectNext(ProviderCall call, ProviderFault fault) {
  absl::MutexLock lock(&service_->mu);
  service_->injected[call].push_back(fault);
}

void FakeProvider::SetFaults(absl::AnyInvocable<ProviderFault(ProviderCall)> pick) {
  absl::MutexLock lock(&service_->mu);
  service_->pick_fault = std::move(pick);
}

void FakeProvider::ForgetCallers() {
  absl::MutexLock lock(&service_->mu);
  ++service_->generation;
  if (service_->in_flight[ProviderCall::kCreate] > 0) {
    service_->doubtful_since =
        Service::Moment{service_->clock.WallNow(), service_->clock.BootNow()};
  }
  service_->in_flight.clear();
}

std::string FakeProvider::AddForeignKey(const std::string& tag) {
  absl::MutexLock lock(&service_->mu);
  return service_->AddKey(tag, true).id;
}

std::pair<std::string, CredentialValue> FakeProvider::MakeKeyByHand() {
  absl::MutexLock lock(&service_->mu);
  const Key& key = service_->AddKey("", false);
  return {key.id, CredentialValue::Of(base::Secret(key.value))};
}

void FakeProvider::RegenerateSlot(const std::string& slot) {
  absl::MutexLock lock(&service_->mu);
  Key* key = service_->Existing(slot);
  KEYTURN_CHECK(key != nullptr, "there is no such slot");
  service_->Renew(*key, true);
}

void FakeProvider::DeleteKey(const std::string& id) {
  absl::MutexLock lock(&service_->mu);
  for (Key& key : service_->keys) {
    if (key.id == id && key.exists()) key.deleted_at = ServersNow(service_->clock);
  }
}

std::vector<FakeProvider::Key> FakeProvider::keys() const {
  absl::MutexLock lock(&service_->mu);
  return service_->keys;
}

std::vector<FakeProvider::Key> FakeProvider::existing_keys() const {
  std::vector<Key> existing = keys();
  std::erase_if(existing, [](const Key& key) { return !key.exists(); });
  return existing;
}

bool FakeProvider::Works(const std::string& value) const {
  absl::MutexLock lock(&service_->mu);
  return service_->WorksLocked(value);
}

int FakeProvider::calls(ProviderCall call) const {
  absl::MutexLock lock(&service_->mu);
  const auto found = service_->calls.find(call);
  return found == service_->calls.end() ? 0 : found->second;
}

size_t FakeProvider::most_keys() const {
  absl::MutexLock lock(&service_->mu);
  return service_->most_keys;
}

size_t FakeProvider::most_expected_keys() const {
  absl::MutexLock lock(&service_->mu);
  return service_->most_expected_keys;
}

std::vector<std::string> FakeProvider::secrets() const {
  absl::MutexLock lock(&service_->mu);
  std::vector<std::string> all = service_->chosen;
  for (const Key& key : service_->keys) all.push_back(key.value);
  if (!service_->options.manager_secret.empty()) all.push_back(service_->options.manager_secret);
  return all;
}

int FakeProvider::most_in_flight(ProviderCall call) const {
  absl::MutexLock lock(&service_->mu);
  const auto found = service_->most_in_flight.find(call);
  return found == service_->most_in_flight.end() ? 0 : found->second;
}

absl::Duration FakeProvider::shortest_wait_in_doubt() const {
  absl::MutexLock lock(&service_->mu);
  return service_->shortest_wait_in_doubt;
}

}  // namespace keyturn::fakes

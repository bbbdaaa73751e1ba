// SPDX-License-Identifier: Apache-2.0
// What the engine asks of the world for a step: the facts the state machine decides by, and the
// calls to the provider.
#include <utility>

#include "agent/base/ids.h"
#include "agent/lifecycle/rotation/engine.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle::rotation {

Facts Engine::FactsFor(const Run& run) const {
  const store::RotationRecord& row = run.record;
  Facts facts;
  facts.now = env_.clock.WallNow();
  facts.traits = run.provider->traits();
  facts.sweep_only = run.sweep_only;
  facts.disown = run.disown;
  facts.our_tags.insert(row.tag);
  facts.retry_wait = RetryWait(run);
  const base::BootTime boot = env_.clock.BootNow();
  facts.grace_over = facts.now >= row.grace_until && boot >= run.grace_boot;
  facts.grace_max_over = facts.now >= row.grace_max && boot >= run.grace_max_boot;
  const CredentialState& state = StateOf(row.credential);
  const v1::CredentialSpec& spec = state.record.spec;
  const Reach reach = facts.traits.slots.empty() ? Reach::kService : Reach::kKeySet;
  facts.known_ids = env_.ledger.KnownKeyIds(spec.provider(), reach);
  if (!spec.recovery().empty()) {
    facts.known_ids.merge(env_.ledger.KnownKeyIds(spec.recovery(), reach));
  }
  facts.disowned_ids.insert(state.record.disowned_key_ids.begin(),
                            state.record.disowned_key_ids.end());
  facts.exclusive = spec.exclusive();
  facts.allow_gap = spec.allow_gap();
  facts.grace = GraceOf(spec.rotate());
  const v1::Grace& grace = spec.rotate().grace();
  if (grace.has_max()) facts.grace_max = ToDuration(grace.max());
  facts.consumers_hold = grace.wait_for() == v1::CONSUMERS && facts.grace_over &&
                         !hooks_.consumers_moved_on(row.credential);
  for (const auto& [tag, record] : state.tags) facts.our_tags.insert(tag);
  AddVersions(run, state, facts);
  return facts;
}

void Engine::AddVersions(const Run& run, const CredentialState& state, Facts& facts) const {
  for (const auto& [number, version] : state.versions) {
    const bool ended = version.state == store::VersionState::kRevoked ||
                       version.state == store::VersionState::kFailed;
    if (version.provider_key_id.empty()) continue;
    if (ended) {
      facts.our_ids.insert(version.provider_key_id);
    } else if (version.created_at > facts.now - facts.traits.settle) {
      facts.young_ids.insert(version.provider_key_id);
    }
  }
  if (const store::VersionRecord* current = state.Current()) facts.current_value = current->value;
  if (const store::VersionRecord* old = state.Version(run.record.old_version)) {
    facts.old_value = old->value;
  }
  const bool chooses = facts.traits.provider_class == providers::ProviderClass::kChosen;
  if (chooses && ParseState(run.record.state) == State::kChecking) {
    facts.fresh_secret = base::NewSecret(env_.random, facts.traits.secret_length);
  }
}

template <class ToEvent>
auto Engine::Expect(const std::string& name, Run& run, ToEvent&& to_event) {
  return [this, name, number = run.number, call = run.call, state = run.record.state,
          to_event = std::forward<ToEvent>(to_event)](auto... reply) mutable {
    // On whatever thread the provider answers: hand over, nothing else.
    RotationPoint(state, "after_reply");
    env_.executor.Post(
        [this, name, number, call, event = Event(to_event(std::move(reply)...))]() mutable {
          if (Awaiting(name, number, call) != nullptr) Take(name, event);
        });
  };
}

void Engine::Call(const std::string& name, Run& run, const Effect& effect) {
  ++run.call;
  const CredentialState& state = StateOf(name);
  if (std::holds_alternative<CallVerifyNew>(effect) ||
      std::holds_alternative<CallVerifyOld>(effect)) {
    const bool verify_new = std::holds_alternative<CallVerifyNew>(effect);
    const store::VersionRecord* version =
        state.Version(verify_new ? run.record.new_version : run.record.old_version);
    auto done =
        Expect(name, run, [](providers::CallResult r) { return VerifyReplied{std::move(r)}; });
    if (!run.provider->traits().can_verify || version == nullptr || version->value.empty()) {
      // Nothing to ask with: a new key is taken as good, an old one as dead.
      done(providers::CallResult{
          verify_new ? providers::Outcome::kOk : providers::Outcome::kRejected, "", 0, {}});
      return;
    }
    run.provider->Verify(version->value, std::move(done));
    RotationPoint(run.record.state, "after_send");
    return;
  }
  hooks_.manager_of(name, [this, name, number = run.number, call = run.call,
                           effect](absl::StatusOr<base::CredentialValue> manager) {
    // The run may have ended while the manager's token was refreshed. Should another process have
    // taken the store meanwhile, there is no new token: it could not be committed.
    if (Awaiting(name, number, call) == nullptr) return;
    if (manager.ok()) {
      CallWithManager(name, effect, *manager);
      return;
    }
    // Nothing was sent, so certainly nothing happened.
    providers::CallResult none{providers::Outcome::kTransient, "manager_unavailable", 0, {}};
    if (std::holds_alternative<CallCreate>(effect)) {
      Take(name, CreateReplied{none, {}});
    } else if (std::holds_alternative<CallList>(effect)) {
      Take(name, ListReplied{none, {}});
    } else {
      Take(name, RevokeReplied{none});
    }
  });
}

providers::NewKey Engine::NewKeyFor(const Run& run) const {
  providers::NewKey key;
  key.target = run.record.target;
  switch (run.provider->traits().provider_class) {
    case providers::ProviderClass::kTagged:
      key.tag = run.record.tag;
      break;
    case providers::ProviderClass::kChosen:
      key.secret = *run.record.new_value.Primary();
      break;
    case providers::ProviderClass::kSelfRoll:
      if (const auto* current = StateOf(run.record.credential).Current()) {
        key.current = current->value;
      }
      break;
    default:
      break;
  }
  return key;
}

void Engine::CallWithManager(const std::string& name, const Effect& effect,
                             const base::CredentialValue& manager) {
  Run& run = runs_.at(name);
  providers::Provider& provider = *run.provider;
  if (std::holds_alternative<CallCreate>(effect)) {
    provider.Create(
        manager, NewKeyFor(run),
        Expect(name, run, [](providers::CallResult r, std::optional<providers::MintedKey> key) {
          return CreateReplied{std::move(r), std::move(key)};
        }));
  } else if (std::holds_alternative<CallList>(effect)) {
    provider.List(
        manager,
        Expect(name, run, [](providers::CallResult r, std::vector<providers::ListedKey> keys) {
          return ListReplied{std::move(r), std::move(keys)};
        }));
  } else {
    const std::string& id = std::get<CallRevoke>(effect).key_id;
    const store::VersionRecord* version = StateOf(name).Version(run.record.old_version);
    const bool old = version != nullptr && version->provider_key_id == id;
    provider.Revoke(
        manager, id, old ? version->value : base::CredentialValue(),
        Expect(name, run, [](providers::CallResult r) { return RevokeReplied{std::move(r)}; }));
  }
  RotationPoint(run.record.state, "after_send");
}

}  // namespace keyturn::lifecycle::rotation

// SPDX-License-Identifier: Apache-2.0
// Engine: all the I/O around the rotation state machine. One run per credential; a run has one call
// or one wait outstanding at a time. Each step is committed before its effect; when a commit fails,
// the step is held and tried again, and nothing is done in between.
// Used on the lifecycle's executor only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/base/random.h"
#include "agent/lifecycle/ledger.h"
#include "agent/lifecycle/lifecycle.h"
#include "agent/lifecycle/rotation/state_machine.h"
#include "agent/observe/failures.h"
#include "agent/observe/log.h"
#include "agent/providers/provider.h"

namespace keyturn::lifecycle::rotation {

// What the engine needs of the house around it.
struct Surroundings {
  Ledger& ledger;
  base::Executor& executor;
  const base::Clock& clock;
  base::Random& random;
  observe::Failures& failures;
  observe::Log& log;
};

// tests/crash ends the process at each of these.
void RotationPoint(absl::string_view state, absl::string_view where);

// What a person must do about a key that is lost and that no other provider makes again.
std::string LostKeyDetail(const std::string& name);

class Engine {
 public:
  // The provider of a credential. Never null on OK.
  using ProviderOf =
      std::function<absl::StatusOr<std::shared_ptr<providers::Provider>>(const std::string& name)>;
  using ManagerValue = absl::AnyInvocable<void(absl::StatusOr<base::CredentialValue>)>;
  // The value of the manager credential of a credential's provider; refreshes it first where that
  // is needed.
  using ManagerOf = std::function<void(const std::string& credential, ManagerValue done)>;
  // What is to be handed out has changed, or Rolling or Replaced has.
  using Changed = std::function<void(const std::string& credential)>;
  // After a row is closed: look when the next one is due. `attempted`: a key was asked for.
  using Closed = std::function<void(const std::string& credential, bool attempted)>;

  struct Hooks {
    ProviderOf provider_of;
    ManagerOf manager_of;
    Changed changed;
    Closed closed;
    // Whether nobody is known to use the old version any more.
    std::function<bool(const std::string& credential)> consumers_moved_on;
  };

  Engine(Surroundings surroundings, Hooks hooks) : env_(surroundings), hooks_(std::move(hooks)) {}

  // Takes up every rotation that was open when the process ended.
  void Recover();
  bool Running(const std::string& name) const { return runs_.count(name) != 0; }
  // Who wants to hear of a run's steps; see Lifecycle::Rotate.
  struct Follower {
    bool until_done = false;
    Lifecycle::Step step;
    absl::AnyInvocable<void(absl::Status)> done;
  };
  // Begins a rotation, or a sweep. A sweep that is under way becomes the rotation that is asked
  // for; otherwise a run that is under way stays as it is.
  void Start(const std::string& name, bool sweep_only,
             std::optional<Follower> follower = std::nullopt);
  // A value that a person brought: verified, then promoted. Refused while a rotation is open.
  absl::Status StartManual(const std::string& name, store::VersionRecord version,
                           Follower follower);
  // Makes the retiring version current again. FailedPrecondition when there is none.
  absl::Status Undo(const std::string& name);
  // A person says that the keys nobody accounts for are not ours: they are left alone. Goes on with
  // a rotation that waits for that in state operator, otherwise looks once.
  absl::Status Disown(const std::string& name, Follower follower);
  // Something that a waiting run waits for may have come.
  void LookAgain(const std::string& name);
  // The key in use may end at any moment, because a call is under way that replaces it.
  bool Rolling(const std::string& name) const;
  // While Rolling: it has ended, but what replaces it cannot be stored yet.
  bool Replaced(const std::string& name) const;
  // Forgets a run without another step: the credential is being deleted.
  void Drop(const std::string& name);
  // When the run will act next by itself; InfinitePast while it waits for a reply.
  absl::Time NextStepAt(const std::string& name) const;

 private:
  struct Run {
    uint64_t number = 0;  // tells this run's replies from those of an earlier one
    uint64_t call = 0;    // and one call's reply from an earlier call's
    store::RotationRecord record;
    std::shared_ptr<providers::Provider> provider;
    bool sweep_only = false;
    bool disown = false;
    // The grace by the clock that cannot be set; only known in the process that promoted.
    base::BootTime grace_boot{-absl::InfiniteDuration()};
    base::BootTime grace_max_boot{-absl::InfiniteDuration()};
    base::Executor::TimerId timer = 0;
    absl::Time next_step_at = absl::InfinitePast();
    uint32_t commit_failures = 0;
    // The new key is here, the old one is dead, and the disk does not take the new one.
    bool replaced = false;
    std::vector<Follower> followers;
  };

  Run NewRun(const CredentialState& state, uint32_t attempt, uint32_t tag_max_length);
  void Begin(const std::string& name, Run run, const Event& first);
  // Runs the task on the executor if this call of this run is still the one that is awaited.
  template <class Reply>
  auto Expect(const std::string& name, Run& run, Reply&& to_event);
  void Take(const std::string& name, const Event& event);
  void Commit(const std::string& name, Step step);
  void HoldAndRetry(const std::string& name, Step step, const absl::Status& why);
  void Perform(const std::string& name, Step step);
  void Call(const std::string& name, Run& run, const Effect& effect);
  void CallWithManager(const std::string& name, const Effect& effect,
                       const base::CredentialValue& manager);
  providers::NewKey NewKeyFor(const Run& run) const;
  static bool EndsTheOld(const Run& run);
  void StartGrace(Run& run) const;
  void WaitUntil(const std::string& name, Run& run, absl::Time until);
  void Finish(const std::string& name, const Close& close);
  void Announce(Run& run, const Step& step);
  void RaiseAlerts(const std::string& name, const Run& run, const Step& step);
  Facts FactsFor(const Run& run) const;
  void AddVersions(const Run& run, const CredentialState& state, Facts& facts) const;
  absl::Duration RetryWait(const Run& run) const;

  // The credential of a run exists: deleting it drops the run.
  const CredentialState& StateOf(const std::string& name) const { return *env_.ledger.Find(name); }
  // The run with this number; null when it has ended.
  Run* Still(const std::string& name, uint64_t number);
  // The same, if this call's reply is the one it awaits.
  Run* Awaiting(const std::string& name, uint64_t number, uint64_t call);

  Surroundings env_;
  const Hooks hooks_;
  uint64_t next_run_ = 1;
  std::map<std::string, Run> runs_;
};

}  // namespace keyturn::lifecycle::rotation

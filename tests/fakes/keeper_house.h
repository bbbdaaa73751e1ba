// SPDX-License-Identifier: Apache-2.0
// KeeperHouse: a whole Keeper between a provider, a token endpoint and a store that fail on demand,
// on simulated time. The agent's tasks and the world's are kept apart, so that the agent can die
// while messages are on their way. Used from one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/lifecycle/keeper.h"
#include "tests/fakes/fake_authorization_server.h"
#include "tests/fakes/fake_provider.h"
#include "tests/fakes/recording_log.h"
#include "tests/fakes/seeded_random.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"
#include "tests/fakes/test_store.h"

namespace keyturn::fakes {

// What consumers would be given now.
class RecordingSink final : public lifecycle::VersionSink {
 public:
  // Called with each version as it is handed out.
  std::function<void(const lifecycle::PublishedVersion&)> on_publish;

  void Publish(const lifecycle::PublishedVersion& version) override {
    versions[version.name] = version;
    if (on_publish) on_publish(version);
  }
  void Withdraw(absl::string_view name) override { versions.erase(std::string(name)); }

  std::vector<std::string> Watching(absl::string_view name) const override {
    const auto found = watching.find(std::string(name));
    return found == watching.end() ? std::vector<std::string>() : found->second;
  }

  std::map<std::string, lifecycle::PublishedVersion> versions;
  // Who watches which name.
  std::map<std::string, std::vector<std::string>> watching;
};

// Knows two recipes, each of which is always the same service: `fake`, and `recovery` for class
// self_roll.
class FakeRegistry final : public providers::Registry {
 public:
  FakeRegistry(std::shared_ptr<FakeProvider> provider, std::shared_ptr<FakeProvider> recovery)
      : provider_(std::move(provider)), recovery_(std::move(recovery)) {}
  absl::StatusOr<std::shared_ptr<providers::Provider>> Make(
      const providers::ProviderConfig& config) const override;
  std::vector<std::string> RecipeNames() const override { return {"fake", "recovery"}; }
  // As if its recipe had disappeared from the disk.
  void Remove(bool removed) { removed_ = removed; }

 private:
  const std::shared_ptr<FakeProvider> provider_;
  const std::shared_ptr<FakeProvider> recovery_;
  bool removed_ = false;
};

class KeeperHouse {
 public:
  struct Options {
    FakeProvider::Options provider;
    FakeProvider::Options recovery;
    FakeAuthorizationServer::Options endpoint;
    providers::Presets presets = {};
    uint64_t seed = 1;
  };
  explicit KeeperHouse(Options options);
  ~KeeperHouse();

  // The process dies: memory and tasks are gone, messages are not.
  void Crash();
  // And starts again over what is stored.
  absl::Status Start();
  bool up() const { return keeper_ != nullptr; }

  // Runs everything due up to `d` from now, each at its time.
  void Advance(absl::Duration d);
  // To the next thing that is due; false when nothing is, within `limit`.
  bool Step(absl::Duration limit);
  // Advances until `done` holds; false when `limit` passed without.
  bool AdvanceUntil(const std::function<bool()>& done, absl::Duration limit);

  // A token "t" of grant client_credentials, its first one fetched; `more` goes on with its
  // `oauth`.
  absl::Status UseMachineToken(const std::string& more = "");

  // Each runs no further than to its answer, without time passing.
  absl::Status Apply(const std::string& yaml);
  absl::StatusOr<v1::PutResponse> Put(const std::string& name, const std::string& value,
                                      const std::string& key_id = "");
  absl::Status Delete(const std::string& type, const std::string& name);
  absl::StatusOr<v1::DescribeResponse> Describe(const std::string& name);
  // An administrator asks for a refresh; the answer comes when it is over.
  std::shared_ptr<std::optional<absl::Status>> Refreshing(const std::string& name,
                                                          bool in_doubt = false);
  void Give(const std::string& name, const std::string& principal, uint64_t version);
  absl::StatusOr<uint64_t> Acknowledge(const std::string& name, const std::string& principal,
                                       uint64_t version);
  // The principals that Describe shows as holders of a version, in their order.
  std::vector<std::string> Holders(const std::string& name, uint64_t version);
  // What the open rotation is in; empty when there is none.
  std::string RotationState(const std::string& name);

  // The value handed out now; empty when there is none.
  std::string Published(const std::string& name) const;

  SimulatedClock clock;
  SimulatedExecutor world{clock};
  TestStore store;
  RecordingLog log;
  RecordingSink sink;
  std::shared_ptr<FakeProvider> provider;
  std::shared_ptr<FakeProvider> recovery;
  FakeAuthorizationServer endpoint;
  SeededRandom random;
  // Principals whose processes have ended.
  std::set<std::string> ended;
  // How often the Keeper said that another process wrote to the store.
  int stores_taken = 0;

  lifecycle::Keeper& keeper() { return *keeper_; }
  FakeRegistry& registry() { return registry_; }
  observe::Failures& failures() { return *failures_; }

 private:
  size_t RunReady();
  std::optional<base::BootTime> Next() const;

  FakeRegistry registry_;
  const providers::Presets presets_;
  std::unique_ptr<SimulatedExecutor> executor_;
  std::unique_ptr<observe::Failures> failures_;
  std::unique_ptr<lifecycle::Keeper> keeper_;
};

}  // namespace keyturn::fakes

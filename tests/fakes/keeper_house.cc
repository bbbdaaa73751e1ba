// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/keeper_house.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "agent/base/error.h"

namespace keyturn::fakes {

absl::StatusOr<std::shared_ptr<providers::Provider>> FakeRegistry::Make(
    const providers::ProviderConfig& config) const {
  if (config.recipe == "recovery") return std::shared_ptr<providers::Provider>(recovery_);
  if (config.recipe != "fake" || removed_) {
    return base::WithReason(absl::InvalidArgumentError("there is no such recipe"), "BAD_RESOURCE",
                            {{"field", "recipe"}});
  }
  return std::shared_ptr<providers::Provider>(provider_);
}

KeeperHouse::KeeperHouse(Options options)
    : store(options.seed),
      provider(std::make_shared<FakeProvider>(options.provider, clock, world)),
      recovery(std::make_shared<FakeProvider>(options.recovery, clock, world)),
      endpoint(options.endpoint, clock, world),
      random(options.seed + 1),
      registry_(provider, recovery),
      presets_(std::move(options.presets)) {
  KEYTURN_CHECK(Start().ok(), "a new house starts");
}

KeeperHouse::~KeeperHouse() { Crash(); }

void KeeperHouse::Crash() {
  provider->ForgetCallers();
  recovery->ForgetCallers();
  endpoint.ForgetCallers();
  executor_.reset();
  keeper_.reset();
  failures_.reset();
}

absl::Status KeeperHouse::Start() {
  // As a person would who has seen that an older copy was put back.
  store::SealedStore& opened = store.Restart();
  if (!opened.CheckIntegrity().ok()) KEYTURN_CHECK(opened.Accept().ok(), "it is taken as it is");
  executor_ = std::make_unique<SimulatedExecutor>(clock);
  failures_ = std::make_unique<observe::Failures>(log, clock);
  keeper_ = std::make_unique<lifecycle::Keeper>(lifecycle::Keeper::Dependencies{
      opened,
      *executor_,
      clock,
      random,
      log,
      *failures_,
      sink,
      endpoint,
      {registry_, [](absl::string_view) { return absl::OkStatus(); },
       [](const v1::PolicySpec&) { return absl::OkStatus(); }, presets_},
      [](const lifecycle::Keeper::Policies&) {},
      [this](absl::string_view principal) { return ended.count(std::string(principal)) != 0; },
      [this] { ++stores_taken; }});
  const absl::Status status = keeper_->Start();
  if (status.ok()) RunReady();
  return status;
}

size_t KeeperHouse::RunReady() {
  size_t all = 0;
  for (;;) {
    const size_t ran = world.RunReady() + (executor_ ? executor_->RunReady() : 0);
    if (ran == 0) return all;
    all += ran;
  }
}

std::optional<base::BootTime> KeeperHouse::Next() const {
  const std::optional<base::BootTime> theirs = world.NextTimerAt();
  const std::optional<base::BootTime> ours =
      executor_ ? executor_->NextTimerAt() : std::optional<base::BootTime>();
  if (!theirs || !ours) return theirs ? theirs : ours;
  return std::min(*theirs, *ours);
}

bool KeeperHouse::Step(absl::Duration limit) {
  RunReady();
  const std::optional<base::BootTime> next = Next();
  if (!next || *next - clock.BootNow() > limit) return false;
  clock.Advance(*next - clock.BootNow());
  RunReady();
  return true;
}

void KeeperHouse::Advance(absl::Duration d) {
  const base::BootTime end = clock.BootNow() + d;
  while (Step(end - clock.BootNow())) {
  }
  clock.Advance(end - clock.BootNow());
  RunReady();
}

bool KeeperHouse::AdvanceUntil(const std::function<bool()>& done, absl::Duration limit) {
  const base::BootTime end = clock.BootNow() + limit;
  RunReady();
  while (!done()) {
    if (!Step(end - clock.BootNow())) return false;
  }
  return true;
}

absl::Status KeeperHouse::Apply(const std::string& yaml) {
  v1::ApplyRequest request;
  v1::SourceFile* file = request.add_files();
  file->set_name("test.yaml");
  file->set_yaml(yaml);
  absl::Status status = absl::UnknownError("no answer");
  keeper_->Apply(std::move(request), false,
                 [&status](absl::StatusOr<v1::ApplyResponse> r) { status = r.status(); });
  RunReady();
  return status;
}

absl::StatusOr<v1::PutResponse> KeeperHouse::Put(const std::string& name, const std::string& value,
                                                 const std::string& key_id) {
  v1::PutRequest request;
  request.set_name(name);
  request.add_fields()->set_value(value);
  request.set_provider_key_id(key_id);
  // A value that is verified first is answered later, when nobody waits here any more.
  auto response =
      std::make_shared<absl::StatusOr<v1::PutResponse>>(absl::UnavailableError("no answer yet"));
  keeper_->Put(std::move(request),
               [response](absl::StatusOr<v1::PutResponse> r) { *response = std::move(r); });
  RunReady();
  return *response;
}

std::shared_ptr<std::optional<absl::Status>> KeeperHouse::Refreshing(const std::string& name,
                                                                     bool in_doubt) {
  v1::RefreshRequest request;
  request.set_name(name);
  request.set_in_doubt(in_doubt);
  auto answer = std::make_shared<std::optional<absl::Status>>();
  keeper_->Refresh(std::move(request), [answer](const absl::StatusOr<v1::RefreshResponse>& r) {
    *answer = r.status();
  });
  RunReady();
  return answer;
}

absl::Status KeeperHouse::UseMachineToken(const std::string& more) {
  const absl::Status applied =
      Apply(absl::StrCat("credentials:\n  t:\n    oauth: { token_url: https://h/t, grant: "
                         "client_credentials, client_id: c, client_auth: none",
                         more, " }\n"));
  if (!applied.ok()) return applied;
  return AdvanceUntil([this] { return !Published("t").empty(); }, absl::Minutes(1))
             ? absl::OkStatus()
             : absl::UnavailableError("there is no token within a minute");
}

absl::Status KeeperHouse::Delete(const std::string& type, const std::string& name) {
  v1::DeleteRequest request;
  request.set_type(type);
  request.set_name(name);
  absl::Status status = absl::UnknownError("no answer");
  keeper_->Delete(std::move(request),
                  [&status](absl::StatusOr<v1::DeleteResponse> r) { status = r.status(); });
  RunReady();
  return status;
}

absl::StatusOr<v1::DescribeResponse> KeeperHouse::Describe(const std::string& name) {
  v1::DescribeRequest request;
  request.set_name(name);
  absl::StatusOr<v1::DescribeResponse> response = absl::UnknownError("no answer");
  keeper_->Describe(std::move(request), [&response](absl::StatusOr<v1::DescribeResponse> r) {
    response = std::move(r);
  });
  RunReady();
  return response;
}

void KeeperHouse::Give(const std::string& name, const std::string& principal, uint64_t version) {
  keeper_->Given({name, principal, version, clock.WallNow(), false});
  RunReady();
}

absl::StatusOr<uint64_t> KeeperHouse::Acknowledge(const std::string& name,
                                                  const std::string& principal, uint64_t version) {
  v1::AcknowledgeRequest request;
  request.set_name(name);
  request.set_version(version);
  absl::StatusOr<uint64_t> current = absl::UnknownError("no answer");
  keeper_->Acknowledge(principal, std::move(request),
                       [&current](const absl::StatusOr<v1::AcknowledgeResponse>& r) {
                         if (r.ok()) {
                           current = r->current_version();
                         } else {
                           current = r.status();
                         }
                       });
  RunReady();
  return current;
}

std::vector<std::string> KeeperHouse::Holders(const std::string& name, uint64_t version) {
  std::vector<std::string> holders;
  const auto described = Describe(name);
  if (!described.ok()) return {described.status().ToString()};
  for (const v1::VersionSummary& view : described->versions()) {
    if (view.version() != version) continue;
    for (const v1::Holder& holder : view.holders()) holders.push_back(holder.principal());
  }
  return holders;
}

std::string KeeperHouse::RotationState(const std::string& name) {
  const auto described = Describe(name);
  return described.ok() ? described->rotation().state() : described.status().ToString();
}

std::string KeeperHouse::Published(const std::string& name) const {
  const auto found = sink.versions.find(name);
  const base::Secret* value =
      found == sink.versions.end() ? nullptr : found->second.value.Primary();
  return value == nullptr ? "" : std::string(value->Reveal());
}

}  // namespace keyturn::fakes

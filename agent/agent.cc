// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "agent/api/server.h"
#include "agent/audit/log_audit_sink.h"
#include "agent/authn/principal.h"
#include "agent/authz/policy_holder.h"
#include "agent/authz/policy_spec.h"
#include "agent/base/check.h"
#include "agent/base/clock.h"
#include "agent/base/error.h"
#include "agent/base/file_io.h"
#include "agent/base/random.h"
#include "agent/base/serial_executor.h"
#include "agent/credential/publisher.h"
#include "agent/credential/resolver.h"
#include "agent/crypto/keyfile_kek_source.h"
#include "agent/lifecycle/keeper.h"
#include "agent/net/curl_http_client.h"
#include "agent/net/egress.h"
#include "agent/net/url.h"
#include "agent/observe/failures.h"
#include "agent/providers/oauth/http_authorization_server.h"
#include "agent/providers/plugin/plugin_host.h"
#include "agent/providers/plugin/plugin_registry.h"
#include "agent/providers/recipe/recipe_registry.h"
#include "agent/store/backup.h"
#include "agent/store/sealed_store.h"
#include "agent/store/sqlite/process_lock.h"
#include "agent/store/sqlite/sqlite_backend.h"

namespace keyturn {
namespace {

api::ConnectionLimits LimitsOf(const Config& config) {
  api::ConnectionLimits limits;
  limits.connections = config.connections;
  limits.connections_per_uid = config.connections_per_uid;
  return limits;
}

absl::Status CheckTokenUrl(absl::string_view text, const net::EgressRules& egress) {
  const auto url = net::ParseUrl(text);
  if (!url.ok()) return url.status();
  if (url->scheme != "https" && !egress.AllowsHttp(url->host, url->port)) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be https; plain http is only spoken with hosts that keyturnd.yaml lists "
                     "under egress.allow_http, and ",
                     url->host, " is not among them"));
  }
  return absl::OkStatus();
}

// At once, as if killed, which every state of the store allows: calls under way and those about to
// begin would be made for what is no longer true.
void EndForAnother() {
  base::EndProcess("another process wrote to the store; start again",
                   static_cast<int>(ExitCode::kStoreInUse));
}

}  // namespace

absl::Status CheckConfig(const Config& config) {
  for (size_t i = 0; i < config.allow_private.size(); ++i) {
    const auto rules = net::EgressRules::Create({config.allow_private[i]}, {});
    if (!rules.ok()) {
      return config.where.Error({"egress", "allow_private", absl::StrCat(i)},
                                rules.status().message());
    }
  }
  for (size_t i = 0; i < config.allow_http.size(); ++i) {
    const auto rules = net::EgressRules::Create({}, {config.allow_http[i]});
    if (!rules.ok()) {
      return config.where.Error({"egress", "allow_http", absl::StrCat(i)},
                                rules.status().message());
    }
  }
  return absl::OkStatus();
}

namespace {

constexpr size_t kBackupBytesMax = size_t{4} << 30;

absl::StatusOr<store::BackupContents> OpenBackup(const Config& config, const std::string& path) {
  const auto bytes = base::ReadFile(path, kBackupBytesMax);
  if (!bytes.ok()) return bytes.status();
  crypto::KeyfileKekSource kek(config.keyfile);
  return store::ReadBackup(*bytes, kek, base::SystemRandom());
}

std::string WhatIsIn(const store::BackupContents& contents) {
  return absl::StrCat(contents.credentials,
                      contents.credentials == 1 ? " credential" : " credentials", " of agent ",
                      contents.agent_id, ", as they were after change ", contents.epoch);
}

// Gives the database a second name, under which it stays when another takes its first. Should this
// end half way, the first name still leads to it.
absl::Status SetAside(const std::string& path, const std::string& aside) {
  if (access(path.c_str(), F_OK) == 0 && link(path.c_str(), aside.c_str()) != 0) {
    return absl::InternalError(absl::StrCat("cannot set the store aside as ", aside, ": ",
                                            std::generic_category().message(errno)));
  }
  // What was not yet brought into it must not be brought into the other.
  if (access((path + "-wal").c_str(), F_OK) == 0) {
    if (absl::Status s = base::MoveFile(path + "-wal", aside + "-wal"); !s.ok()) return s;
  }
  unlink((path + "-shm").c_str());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> VerifyBackup(const Config& config, const std::string& path) {
  const auto contents = OpenBackup(config, path);
  if (!contents.ok()) return contents.status();
  return absl::StrCat(path, " can be restored: ", WhatIsIn(*contents));
}

absl::StatusOr<std::string> RestoreBackup(const Config& config, const std::string& path) {
  const auto contents = OpenBackup(config, path);
  if (!contents.ok()) return contents.status();
  const std::string& target = config.store_path;
  const std::string directory = std::filesystem::path(target).parent_path().string();
  if (absl::Status s = base::MakeDirectory(directory, 0700); !s.ok()) return s;
  const auto lock = store::ProcessLock::Take(target);
  if (!lock.ok()) return lock.status();
  const std::string aside = target + ".replaced";
  const bool replaces = access(target.c_str(), F_OK) == 0;
  if (replaces && access(aside.c_str(), F_OK) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        aside, " is there already, from an earlier restore; move it away or delete it first"));
  }
  // Made and read back beside the store, which stays until that is done.
  const std::string draft = target + ".restored";
  for (const char* end : {"", "-wal", "-shm", ".lock", ".new"}) unlink((draft + end).c_str());
  {
    auto backend = store::SqliteBackend::Open(draft);
    if (!backend.ok()) return backend.status();
    if (absl::Status s = store::Restore(*contents, **backend); !s.ok()) return s;
    crypto::KeyfileKekSource kek(config.keyfile);
    const auto restored = store::SealedStore::Open(**backend, kek, base::SystemRandom());
    if (!restored.ok()) return restored.status();
    if (auto records = (*restored)->LoadAll(); !records.ok()) return records.status();
  }
  unlink((draft + ".lock").c_str());
  if (access((draft + "-wal").c_str(), F_OK) == 0) {
    return absl::InternalError(absl::StrCat("the new store ", draft,
                                            " could not be written as a whole; is the disk full?"));
  }
  if (absl::Status s = SetAside(target, aside); !s.ok()) return s;
  if (absl::Status s = base::MoveFile(draft, target); !s.ok()) return s;
  return absl::StrCat("restored ", WhatIsIn(*contents),
                      replaces ? absl::StrCat("; the store that was there is now ", aside) : "");
}

// Destroyed from the last to the first: who calls goes before who is called. The executor is
// stopped before anything is destroyed, so no task runs into a part that is gone.
struct Agent::Parts {
  base::Clock& clock = base::SystemClock();
  base::Random& random = base::SystemRandom();
  std::unique_ptr<store::SqliteBackend> backend;
  std::optional<store::FileAnchor> anchor;
  std::unique_ptr<store::SealedStore> store;
  std::optional<observe::Failures> failures;
  std::optional<audit::LogAuditSink> audit;
  authz::PolicyHolder policies;
  net::EgressRules egress;
  std::unique_ptr<net::CurlHttpClient> http;
  std::unique_ptr<providers::RecipeRegistry> recipes;
  providers::Presets presets;
  std::optional<providers::PluginHost> plugins;
  std::optional<providers::PluginRegistry> registry;
  std::optional<providers::HttpAuthorizationServer> authorization_server;
  credential::Snapshot snapshot;
  credential::WatchHub watch_hub;
  credential::Publisher publisher{snapshot, watch_hub};
  std::optional<base::SerialExecutor> executor;
  std::optional<lifecycle::Keeper> keeper;
  bool keeper_started = false;  // the executor's
  std::optional<credential::Resolver> resolver;
  std::unique_ptr<api::Server> server;
};

Agent::Agent(const Config& config, observe::ProcessLog& log, DecorateBackend decorate)
    : config_(config), log_(log), decorate_(decorate) {}

Agent::~Agent() { Stop(); }

absl::Status Agent::OpenStore(ExitCode& code) {
  code = ExitCode::kStore;
  auto backend = store::SqliteBackend::Open(config_.store_path);
  if (!backend.ok()) {
    if (base::ReasonOf(backend.status()) == "STORE_IN_USE") code = ExitCode::kStoreInUse;
    return backend.status();
  }
  parts_->backend = *std::move(backend);
  store::Backend& used = decorate_ == nullptr ? *parts_->backend : decorate_(*parts_->backend);
  const auto is_new = store::SealedStore::IsNew(used);
  if (!is_new.ok()) return is_new.status();
  crypto::KeyfileKekSource kek(config_.keyfile);
  if (config_.create_keyfile && *is_new && access(config_.keyfile.c_str(), F_OK) != 0) {
    if (absl::Status s = crypto::CreateKeyfile(config_.keyfile, parts_->random); !s.ok()) return s;
  }
  parts_->anchor.emplace(config_.anchor_path);
  auto store =
      store::SealedStore::Open(used, kek, parts_->random, config_.agent_name, &*parts_->anchor);
  if (!store.ok()) return store.status();
  parts_->store = *std::move(store);
  absl::Status integrity = parts_->store->CheckIntegrity();
  if (absl::IsDataLoss(integrity)) return integrity;
  if (!integrity.ok()) return parts_->store->Accept();
  return absl::OkStatus();
}

absl::Status Agent::OpenProviders() {
  auto egress = net::EgressRules::Create(config_.allow_private, config_.allow_http);
  if (!egress.ok()) return egress.status();
  parts_->egress = *egress;
  auto http =
      net::CurlHttpClient::Create({.egress = *egress, .ca_file = config_.ca_file}, parts_->clock);
  if (!http.ok()) return http.status();
  parts_->http = *std::move(http);
  parts_->executor.emplace("keyturn-life");
  auto recipes = providers::RecipeRegistry::Load({.directories = config_.recipe_dirs,
                                                  .egress = parts_->egress,
                                                  .timeout = config_.http_timeout,
                                                  .executor = &*parts_->executor},
                                                 *parts_->http, parts_->clock);
  if (!recipes.ok()) return recipes.status();
  parts_->recipes = *std::move(recipes);
  auto presets = providers::Presets::Load(config_.preset_dirs);
  if (!presets.ok()) return presets.status();
  parts_->presets = *std::move(presets);
  OpenPlugins();
  parts_->registry.emplace(*parts_->recipes, *parts_->plugins);
  parts_->authorization_server.emplace(
      *parts_->http,
      providers::HttpAuthorizationServer::Options{parts_->egress, config_.http_timeout},
      parts_->clock, parts_->random);
  return absl::OkStatus();
}

void Agent::OpenPlugins() {
  Parts& p = *parts_;
  providers::PluginHost::Options options;
  for (const PluginConfig& config : config_.plugins) {
    providers::PluginSpec spec;
    spec.name = config.name;
    spec.command = config.command;
    spec.sha256 = config.sha256;
    if (config.uid) spec.user = {*config.uid, config.gid};
    spec.timeout = config.timeout;
    options.plugins.push_back(std::move(spec));
  }
  // Beside the sockets, in what is gone after a reboot.
  options.directory =
      (std::filesystem::path(config_.admin_socket).parent_path() / "plugins").string();
  options.on_ready = [&p] {
    p.executor->Post([&p] {
      if (p.keeper_started) p.keeper->TryProvidersAgain();
    });
  };
  p.plugins.emplace(
      std::move(options),
      providers::PluginHost::Dependencies{
          .clock = p.clock, .random = p.random, .log = log_, .failures = *p.failures});
  p.plugins->Start();
}

void Agent::MakeLifecycle() {
  Parts& p = *parts_;
  p.audit.emplace(log_);
  lifecycle::ResourceChecks checks{
      .registry = *p.registry,
      .check_url = [&p](absl::string_view url) { return CheckTokenUrl(url, p.egress); },
      .check_policy = authz::CheckSpec,
      .presets = p.presets};
  auto on_policies = [this, &p](const lifecycle::Keeper::Policies& records) {
    std::vector<authz::Policy> policies;
    std::vector<std::string> unknown;
    for (const auto& [name, record] : records) {
      policies.push_back(authz::FromSpec(name, record.spec, &unknown));
    }
    for (const std::string& who : unknown) {
      log_.Write(observe::Level::kWarning, "policy_principal_unknown", {{"principal", who}});
    }
    if (config_.dev) {
      policies.push_back({.name = "builtin:dev",
                          .principals = {{.uid = geteuid(), .gid = -1}},
                          .allow = {authz::Action::kRead},
                          .on = {"**"}});
    }
    p.policies.Replace(authz::PolicySet(std::move(policies)));
  };
  p.keeper.emplace(lifecycle::Keeper::Dependencies{.store = *p.store,
                                                   .executor = *p.executor,
                                                   .clock = p.clock,
                                                   .random = p.random,
                                                   .log = log_,
                                                   .failures = *p.failures,
                                                   .sink = p.publisher,
                                                   .authorization_server = *p.authorization_server,
                                                   .checks = std::move(checks),
                                                   .on_policies = std::move(on_policies),
                                                   .has_ended = authn::HasEnded,
                                                   .on_store_taken = EndForAnother});
  p.resolver.emplace(p.snapshot, *p.keeper, p.clock);
}

absl::Status Agent::Start(ExitCode& code) {
  parts_ = std::make_unique<Parts>();
  parts_->failures.emplace(log_, parts_->clock);
  if (absl::Status s = OpenStore(code); !s.ok()) return s;
  code = ExitCode::kUsage;
  if (absl::Status s = OpenProviders(); !s.ok()) return s;
  MakeLifecycle();
  absl::Status started;
  absl::Notification done;
  parts_->executor->Post([&] {
    started = parts_->keeper->Start();
    parts_->keeper_started = started.ok();
    done.Notify();
  });
  done.WaitForNotification();
  code = ExitCode::kStore;
  if (!started.ok()) return started;
  parts_->server =
      std::make_unique<api::Server>(api::Server::Options{.services_path = config_.services_socket,
                                                         .services_mode = config_.services_mode,
                                                         .admin_path = config_.admin_socket,
                                                         .services_limits = LimitsOf(config_),
                                                         .store_path = config_.store_path},
                                    api::Server::Dependencies{.resolver = *parts_->resolver,
                                                              .watch_hub = parts_->watch_hub,
                                                              .lifecycle = *parts_->keeper,
                                                              .policies = parts_->policies,
                                                              .audit = *parts_->audit,
                                                              .log = log_,
                                                              .clock = parts_->clock});
  code = ExitCode::kSockets;
  return parts_->server->Start();
}

void Agent::Reload(const Config& config) {
  log_.SetLevel(config.log_level);
  parts_->server->SetLimits(LimitsOf(config));
  config_.drain = config.drain;
}

void Agent::Stop() {
  if (!parts_) return;
  // Callers first, then the outside world, whose last answers still find the executor, then that.
  if (parts_->server) parts_->server->Drain(config_.drain);
  if (parts_->http) parts_->http->Stop();
  if (parts_->plugins) parts_->plugins->Stop();
  if (parts_->executor) parts_->executor->Stop();
  parts_.reset();
}

}  // namespace keyturn

// SPDX-License-Identifier: Apache-2.0
#include "agent/agent_main.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent/base/error.h"
#include "agent/config.h"
#include "agent/crypto/init.h"
#include "agent/observe/process_log.h"
#include "agent/observe/service_notify.h"

namespace keyturn {
namespace {

struct Flags {
  std::string config_path;
  bool dev = false;
  bool check = false;
  std::string verify_backup;
  std::string restore;
};

// Before anything secret is in memory.
void HardenProcess() {
  // gRPC's tracing would print payloads.
  for (const char* name : {"GRPC_TRACE", "GRPC_VERBOSITY"}) unsetenv(name);  // NOLINT
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  // A connection costs three descriptors; the soft limit is often 1024 for the sake of select().
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
#if !defined(KEYTURN_SANITIZED)
  // No core, no ptrace by the same user. Leak checkers need ptrace.
  prctl(PR_SET_DUMPABLE, 0);
#endif
  umask(0077);
  signal(SIGPIPE, SIG_IGN);
}

// Blocked before any thread starts, so that only Serve sees them.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

int Fail(observe::Log& log, ExitCode code, const absl::Status& status) {
  log.Write(observe::Level::kError, "start_failed",
            {{"detail", status.message()}, {"exit_code", static_cast<int>(code)}});
  std::fprintf(stderr, "keyturnd: %s\n", std::string(status.message()).c_str());
  return static_cast<int>(code);
}

// Of what is done before anything is served.
int Report(const absl::StatusOr<std::string>& done) {
  if (!done.ok()) {
    std::fprintf(stderr, "keyturnd: %s\n", std::string(done.status().message()).c_str());
    return static_cast<int>(base::ReasonOf(done.status()) == "STORE_IN_USE" ? ExitCode::kStoreInUse
                                                                            : ExitCode::kStore);
  }
  std::printf("%s\n", done->c_str());
  return static_cast<int>(ExitCode::kOk);
}

void Reload(const Flags& flags, Agent& agent, observe::Log& log) {
  observe::NotifyReloading();
  auto config = flags.dev ? DevConfig() : LoadConfig(flags.config_path);
  if (config.ok()) {
    agent.Reload(*config);
    log.Write(observe::Level::kInfo, "reloaded", {});
  } else {
    log.Write(observe::Level::kError, "reload_failed",
              {{"detail", config.status().message()},
               {"next", "the settings in force stay; mend the file and send SIGHUP again"}});
  }
  observe::NotifyReady();
}

int Serve(const Flags& flags, const Config& config, const sigset_t& signals,
          DecorateBackend decorate) {
  observe::ProcessLog log(config.log_level);
  Agent agent(config, log, decorate);
  ExitCode code = ExitCode::kInternal;
  if (const absl::Status started = agent.Start(code); !started.ok()) {
    return Fail(log, code, started);
  }
  log.Write(observe::Level::kInfo, "started",
            {{"version", KEYTURN_VERSION},
             {"services_socket", config.services_socket},
             {"admin_socket", config.admin_socket},
             {"store", config.store_path}});
  observe::NotifyReady();
  for (;;) {
    int number = 0;
    sigwait(&signals, &number);
    if (number != SIGHUP) break;
    Reload(flags, agent, log);
  }
  observe::NotifyStopping();
  log.Write(observe::Level::kInfo, "stopping", {});
  agent.Stop();
  log.Write(observe::Level::kInfo, "stopped", {});
  return static_cast<int>(ExitCode::kOk);
}

}  // namespace

int AgentMain(int argc, char** argv, DecorateBackend decorate) {
  Flags flags;
  CLI::App app("Keeps API keys and OAuth tokens fresh and hands them to local services.",
               "keyturnd");
  auto* config_option =
      app.add_option("--config", flags.config_path, "The configuration, see keyturnd.yaml(5)")
          ->type_name("FILE");
  app.add_flag("--dev", flags.dev,
               "Run without a configuration, with all state in a private directory")
      ->excludes(config_option);
  app.add_flag("--check", flags.check, "Check the configuration and exit");
  auto* verify = app.add_option("--verify-backup", flags.verify_backup,
                                "Check that this backup can be restored, and exit")
                     ->type_name("FILE");
  app.add_option("--restore", flags.restore,
                 "Make this backup the store and exit; the agent must not be running")
      ->type_name("FILE")
      ->excludes(verify);
  app.set_version_flag("--version", KEYTURN_VERSION);
  app.footer(
      "Exit codes: 0 ended as asked, 1 internal failure, 2 command line or configuration,\n"
      "3 store in use by another instance, 4 store cannot be opened, 5 sockets cannot be opened.\n"
      "Signals: SIGTERM ends calls in progress and exits, SIGHUP reads log level and limits "
      "again.\n"
      "To try it: keyturnd --dev");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  if (flags.config_path.empty()) flags.config_path = KEYTURN_CONFIG_DIR "/keyturnd.yaml";

  HardenProcess();
  const sigset_t signals = BlockSignals();
  crypto::Init();
  const auto config = flags.dev ? DevConfig() : LoadConfig(flags.config_path);
  const absl::Status sound = config.ok() ? CheckConfig(*config) : config.status();
  if (!sound.ok()) {
    std::fprintf(stderr, "keyturnd: %s\n", std::string(sound.message()).c_str());
    return static_cast<int>(ExitCode::kUsage);
  }
  if (flags.check) {
    std::printf("%s is in order\n",
                flags.dev ? "the built-in configuration" : flags.config_path.c_str());
    return 0;
  }
  if (!flags.verify_backup.empty()) return Report(VerifyBackup(*config, flags.verify_backup));
  if (!flags.restore.empty()) return Report(RestoreBackup(*config, flags.restore));
  return Serve(flags, *config, signals, decorate);
}

}  // namespace keyturn

// SPDX-License-Identifier: Apache-2.0
// PluginSupervisor: keeps one plugin running. Starts the pinned program in its directory, connects,
// proves who listens, asks for a first answer, and only then lets calls through. When it ends,
// hangs or turns out to be another program than pinned, it is killed and, after a growing wait,
// started again; each failure opens PROVIDER_DOWN, the next first answer resolves it. All state
// belongs to the executor; public methods may be called from anywhere else.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "agent/base/backoff.h"
#include "agent/base/child_process.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/base/random.h"
#include "agent/observe/failures.h"
#include "agent/observe/log.h"
#include "agent/providers/plugin/plugin_line.h"

namespace keyturn::providers {

// As the configuration file says.
struct PluginSpec {
  std::string name;
  std::vector<std::string> command;  // an absolute path, then arguments
  std::string sha256;                // of the program, lower-case hexadecimal
  std::optional<base::ChildProcess::User> user;
  absl::Duration timeout = absl::Seconds(30);  // of one call
};

class PluginSupervisor {
 public:
  struct Options {
    PluginSpec spec;
    // The directory in which the plugin's own directory is made.
    std::string parent_directory;
    // From the start to the first answer.
    absl::Duration start_timeout = absl::Seconds(20);
    base::BackoffPolicy backoff;
    // How long SIGTERM has before SIGKILL.
    absl::Duration stop_grace = absl::Seconds(2);
    // Called on the executor, each time the plugin can be asked again.
    std::function<void()> on_ready;
  };
  struct Dependencies {
    base::Executor& executor;
    const base::Clock& clock;
    base::Random& random;
    observe::Log& log;
    observe::Failures& failures;
  };

  PluginSupervisor(Options options, Dependencies deps);
  ~PluginSupervisor();

  void Start();
  // Until the first attempt to start it has succeeded or failed.
  void WaitStarted(absl::Duration at_most);
  // SIGTERM, and no new calls. Not from the executor, as all below.
  void BeginStop();
  // Until the plugin has ended and all calls are answered.
  void FinishStop();

  const PluginSpec& spec() const { return options_.spec; }
  PluginLine& line() { return line_; }
  // Why it cannot be asked now, for error messages; empty when it can.
  std::string Trouble() const;

 private:
  struct Failing {
    std::string cause;  // one of ours
    std::string detail;
  };

  void Launch();
  absl::Status LaunchProgram();
  void Connect();
  void Probe(int fd);
  void Ready();
  void Fail(const Failing& why);
  // Runs the task on the executor, unless the plugin was started anew or stopped meanwhile.
  void Later(int launch, std::function<void()> task);
  void After(absl::Duration delay, std::function<void()> task);
  void RunHere(std::function<void()> task);
  void SetTrouble(const std::string& trouble);

  const Options options_;
  Dependencies deps_;
  PluginLine line_;
  absl::Notification first_attempt_over_;
  mutable absl::Mutex mu_;
  std::string trouble_ ABSL_GUARDED_BY(mu_) = "is being started";
  // The executor's.
  int launch_ = 0;
  bool stopping_ = false;
  bool ready_ = false;
  uint32_t failures_in_row_ = 0;
  base::BootTime launched_at_;
  base::BootTime ready_at_;
  std::string directory_;
  uid_t uid_ = 0;
  base::Executor::TimerId timer_ = 0;
  std::unique_ptr<base::ChildProcess> child_;
  std::shared_ptr<absl::Notification> child_ended_;
};

}  // namespace keyturn::providers

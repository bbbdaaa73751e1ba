// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/plugin_supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/program_image.h"
#include "agent/providers/plugin/plugin_output.h"
#include "agent/providers/plugin/plugin_socket.h"

namespace keyturn::providers {
namespace {

constexpr absl::Duration kConnectEvery = absl::Milliseconds(25);
// A plugin that ran this long had nothing to do with the failures before.
constexpr absl::Duration kSound = absl::Minutes(1);

}  // namespace

PluginSupervisor::PluginSupervisor(Options options, Dependencies deps)
    : options_(std::move(options)), deps_(deps), line_(deps.executor, options_.spec.timeout) {}

PluginSupervisor::~PluginSupervisor() = default;

void PluginSupervisor::Start() {
  deps_.executor.Post([this] { Launch(); });
}

void PluginSupervisor::WaitStarted(absl::Duration at_most) {
  first_attempt_over_.WaitForNotificationWithTimeout(at_most);
}

std::string PluginSupervisor::Trouble() const {
  absl::MutexLock lock(&mu_);
  return trouble_;
}

void PluginSupervisor::SetTrouble(const std::string& trouble) {
  absl::MutexLock lock(&mu_);
  trouble_ = trouble;
}

void PluginSupervisor::RunHere(std::function<void()> task) {
  absl::Notification done;
  deps_.executor.Post([&] {
    task();
    done.Notify();
  });
  done.WaitForNotification();
}

void PluginSupervisor::BeginStop() {
  RunHere([this] {
    stopping_ = true;
    deps_.executor.Cancel(timer_);
    SetTrouble("is being stopped");
    line_.Detach();
    // It may end what it is doing.
    if (child_ != nullptr) child_->Signal(SIGTERM);
  });
}

void PluginSupervisor::FinishStop() {
  std::shared_ptr<absl::Notification> ended;
  RunHere([this, &ended] { ended = child_ended_; });
  if (ended != nullptr) ended->WaitForNotificationWithTimeout(options_.stop_grace);
  RunHere([this] { child_.reset(); });
  line_.WaitIdle();
}

void PluginSupervisor::Later(int launch, std::function<void()> task) {
  deps_.executor.Post([this, launch, task = std::move(task)] {
    if (launch == launch_ && !stopping_) task();
  });
}

void PluginSupervisor::After(absl::Duration delay, std::function<void()> task) {
  timer_ = deps_.executor.After(delay, [this, launch = launch_, task = std::move(task)] {
    if (launch == launch_ && !stopping_) task();
  });
}

void PluginSupervisor::Launch() {
  if (stopping_) return;
  ++launch_;
  launched_at_ = deps_.clock.BootNow();
  ready_ = false;
  if (absl::Status s = LaunchProgram(); !s.ok()) {
    const bool pinned = absl::IsFailedPrecondition(s);
    return Fail({pinned ? "checksum_mismatch" : "not_startable", std::string(s.message())});
  }
  Connect();
}

absl::Status PluginSupervisor::LaunchProgram() {
  const PluginSpec& spec = options_.spec;
  uid_ = spec.user ? spec.user->uid : geteuid();
  auto directory = MakePluginDirectory(options_.parent_directory, spec.name, uid_,
                                       spec.user ? spec.user->gid : getegid());
  // Not a matter of the checksum, whatever kind of failure it was.
  if (!directory.ok()) return absl::InternalError(directory.status().message());
  directory_ = *std::move(directory);
  auto image = base::ProgramImage::Load(spec.command[0], spec.sha256);
  if (!image.ok()) return image.status();
  base::ChildProcess::Options child;
  child.argv = spec.command;
  child.argv.insert(child.argv.end(), {"--socket", kPluginSocketName});
  child.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", absl::StrCat("HOME=", directory_),
                       absl::StrCat("TMPDIR=", directory_)};
  child.directory = directory_;
  child.user = spec.user;
  child.thread_name = absl::StrCat("plg-", spec.name);
  auto output = std::make_shared<PluginOutput>(spec.name, deps_.clock, deps_.log);
  auto ended = std::make_shared<absl::Notification>();
  auto started = base::ChildProcess::Start(
      *image, std::move(child), [output](absl::string_view line) { output->TakeLine(line); },
      [this, output, ended, launch = launch_](const std::string& how) {
        output->End();
        Later(launch, [this, how] {
          Fail({"exited", absl::StrCat("the plugin ended by itself: ", how)});
        });
        ended->Notify();
      });
  if (!started.ok()) return absl::InternalError(started.status().message());
  child_ = *std::move(started);
  child_ended_ = std::move(ended);
  return absl::OkStatus();
}

void PluginSupervisor::Connect() {
  const auto fd = ConnectToPlugin(directory_, child_->pid(), uid_);
  if (fd.ok()) return Probe(*fd);
  if (absl::IsPermissionDenied(fd.status())) {
    return Fail({"wrong_peer", std::string(fd.status().message())});
  }
  if (deps_.clock.BootNow() - launched_at_ > options_.start_timeout) {
    return Fail({"start_timeout", absl::StrCat("the plugin did not listen on ", kPluginSocketName,
                                               " in its directory in time")});
  }
  After(kConnectEvery, [this] { Connect(); });
}

// Any answer to a question about nothing shows that it speaks the protocol.
void PluginSupervisor::Probe(int fd) {
  const int launch = launch_;
  line_.Attach(fd, [this, launch] {
    Later(launch, [this] { Fail({"hangs", "three calls in a row got no answer in time"}); });
  });
  const absl::Duration left = std::max<absl::Duration>(
      absl::Seconds(1), options_.start_timeout - (deps_.clock.BootNow() - launched_at_));
  line_.Call<plugin::v1::DescribeRequest, plugin::v1::DescribeResponse>(
      &PluginLine::Async::Describe, {}, left,
      [this, launch](PluginReply reply, const char* cause, const plugin::v1::DescribeResponse&) {
        const bool arrived = reply == PluginReply::kArrived;
        Later(launch, [this, arrived, cause] {
          if (arrived) return Ready();
          Fail({"no_answer", absl::StrCat("the plugin listens and does not answer: ", cause)});
        });
      });
}

void PluginSupervisor::Ready() {
  ready_ = true;
  ready_at_ = deps_.clock.BootNow();
  SetTrouble("");
  deps_.log.Write(observe::Level::kInfo, "plugin_ready",
                  {{"plugin", options_.spec.name}, {"pid", int64_t{child_->pid()}}});
  deps_.failures.Resolve(observe::FailureCode::kProviderDown,
                         observe::SubjectOf({.provider = options_.spec.name}));
  if (!first_attempt_over_.HasBeenNotified()) first_attempt_over_.Notify();
  if (options_.on_ready) options_.on_ready();
}

void PluginSupervisor::Fail(const Failing& why) {
  line_.Detach();
  child_.reset();
  child_ended_.reset();
  if (ready_ && deps_.clock.BootNow() - ready_at_ > kSound) failures_in_row_ = 0;
  ready_ = false;
  ++failures_in_row_;
  ++launch_;  // what the old process still sends is late
  const absl::Duration wait =
      base::Backoff(options_.backoff, failures_in_row_, absl::ZeroDuration(), deps_.random);
  SetTrouble(absl::StrCat("is down (", why.cause, ")"));
  deps_.failures.Open({.code = observe::FailureCode::kProviderDown,
                       .provider = options_.spec.name,
                       .provider_class = "plugin",
                       .attempt = failures_in_row_,
                       .cause = why.cause,
                       .next_retry = deps_.clock.WallNow() + wait,
                       .detail = why.detail});
  if (!first_attempt_over_.HasBeenNotified()) first_attempt_over_.Notify();
  After(wait, [this] { Launch(); });
}

}  // namespace keyturn::providers

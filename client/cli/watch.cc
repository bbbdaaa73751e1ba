// SPDX-License-Identifier: Apache-2.0
// `keyturn watch`: a line for each value and each change, until interrupted. Events arrive on the
// client's thread; the main thread waits for a signal or for the watch to end.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/duration_text.h"
#include "client/cli/exit_code.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

struct Options {
  std::vector<std::string> names;
  bool show_values = false;
};

class WatchPrinter {
 public:
  WatchPrinter(const Options& options, Session& session, int ended_fd)
      : options_(options), session_(session), ended_fd_(ended_fd) {}

  // On the client's thread.
  void OnEvent(const WatchEvent& event) {
    switch (event.type) {
      case WatchEvent::Type::kValue:
        PrintValue(event.credential);
        break;
      case WatchEvent::Type::kDeleted:
        PrintDeleted(event.name);
        break;
      case WatchEvent::Type::kSynced:
        break;
      case WatchEvent::Type::kDisconnected:
        fprintf(stderr, "keyturn: %s; trying again\n", Printable(event.status.message()).c_str());
        break;
      case WatchEvent::Type::kRefused:
      case WatchEvent::Type::kEnded: {
        {
          absl::MutexLock lock(&mutex_);
          end_ = event.status;
        }
        End();
        break;
      }
    }
    if (session_.exit_code() != 0) End();  // nobody reads the output any more
  }

  absl::Status end() {
    absl::MutexLock lock(&mutex_);
    return end_;
  }

 private:
  void End() const { eventfd_write(ended_fd_, 1); }

  void PrintValue(const Credential& credential) {
    const absl::Time now = absl::Now();
    if (session_.json()) {
      nlohmann::ordered_json line = {{"at", FormatRfc3339(now)},
                                     {"event", "value"},
                                     {"name", credential.name},
                                     {"version", credential.version},
                                     {"expires_at", nullptr}};
      if (credential.expires_at.has_value()) {
        line["expires_at"] = FormatRfc3339(*credential.expires_at);
      }
      if (options_.show_values) line["value"] = std::string(credential.value().Reveal());
      std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      session_.Print(text.append("\n"));
      WipeString(text);
      if (options_.show_values) WipeString(line["value"].get_ref<std::string&>());
      return;
    }
    session_.Print(
        absl::StrCat(FormatLocal(now, absl::LocalTimeZone()), "  ", Printable(credential.name),
                     "  version ", credential.version,
                     credential.expires_at.has_value()
                         ? absl::StrCat("  expires ", FormatRelative(*credential.expires_at, now))
                         : "",
                     options_.show_values ? "  " : "\n"));
    if (!options_.show_values) return;
    std::string shown = Printable(credential.value().Reveal());
    session_.Print(shown.append("\n"));
    WipeString(shown);
  }

  void PrintDeleted(const std::string& name) {
    const absl::Time now = absl::Now();
    if (session_.json()) {
      const nlohmann::ordered_json line = {
          {"at", FormatRfc3339(now)}, {"event", "deleted"}, {"name", name}};
      return session_.Print(absl::StrCat(line.dump(), "\n"));
    }
    session_.Print(absl::StrCat(FormatLocal(now, absl::LocalTimeZone()), "  ", Printable(name),
                                "  deleted\n"));
  }

  const Options& options_;
  Session& session_;
  const int ended_fd_;
  absl::Mutex mutex_;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
};

void Run(const Options& options, Session& session) {
  const ErrorContext context = {.what = "cannot watch",
                                .name = options.names.size() == 1 ? options.names[0] : ""};
  // Before any thread exists, so that every thread leaves these signals to the loop below.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const auto client = session.Services();
  if (!client.ok()) return session.Fail(context, client.status());
  const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
  const int ended_fd = eventfd(0, EFD_CLOEXEC);
  const auto close_fds = absl::MakeCleanup([signal_fd, ended_fd] {
    close(signal_fd);
    close(ended_fd);
  });
  // An agent that is not there now is a mistake of the user; one that goes away later is not.
  if (absl::Status ready = (*client)->WaitReady(session.options.timeout); !ready.ok()) {
    return session.Fail(context, ready);
  }
  WatchPrinter printer(options, session, ended_fd);
  auto handle = (*client)->Watch(options.names,
                                 [&printer](const WatchEvent& event) { printer.OnEvent(event); });
  pollfd fds[] = {{signal_fd, POLLIN, 0}, {ended_fd, POLLIN, 0}};
  while (poll(fds, 2, -1) < 0 && errno == EINTR) {
  }
  handle = nullptr;  // no callback runs from here on
  if ((fds[0].revents & POLLIN) != 0) {
    signalfd_siginfo info = {};
    const bool known = read(signal_fd, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info));
    return session.set_exit_code(known ? 128 + static_cast<int>(info.ssi_signo) : kExitInterrupted);
  }
  if (!printer.end().ok()) session.Fail(context, printer.end());
}

}  // namespace

void AddWatchCommand(CLI::App& program, Session& session) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("watch", "Print a line for each new value, as it comes");
  command->add_option("names", options->names, "The credentials' names, at most 100")
      ->required()
      ->type_name("NAME");
  command->add_flag("--show-values", options->show_values, "Print the values themselves, too");
  command->footer(
      "Ends with Ctrl-C (exit code 130). Waits for an agent that restarts.\n"
      "\n"
      "Examples:\n"
      "  keyturn watch support-bot/dify crm/token\n"
      "  keyturn watch crm/token -o json      one JSON object a line");
  command->callback([options, &session] { Run(*options, session); });
}

}  // namespace keyturn::cli

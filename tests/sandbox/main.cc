// SPDX-License-Identifier: Apache-2.0
//
// keyturn-sandbox: a stand-in for the services that Keyturn talks to, for the quickstart and the
// tests. Prints one line when it is ready and ends on SIGTERM or SIGINT.
// Exit codes: 0 ended by a signal or after --help, 1 could not serve, 2 bad command line or
// configuration. Signals are blocked before any thread starts and taken by the main thread alone.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/string_view.h>
#include <CLI/CLI.hpp>

#include "tests/sandbox/options.h"
#include "tests/sandbox/server.h"

namespace keyturn::sandbox {
namespace {

struct Flags {
  uint16_t port = 0;
  std::string port_file;
  std::string config_file;
  std::string access_token_ttl;
  std::optional<uint64_t> seed;
  bool with_parent = false;
};

int Fail(int code, absl::string_view message) {
  std::cerr << "keyturn-sandbox: " << message << "\n";
  return code;
}

absl::StatusOr<SandboxOptions> LoadOptions(const Flags& flags) {
  absl::StatusOr<SandboxOptions> options = SandboxOptions();
  if (!flags.config_file.empty()) {
    std::ifstream file(flags.config_file, std::ios::binary);
    // Through getline and not the stream's buffer, which throws when it is given a directory.
    std::string text;
    std::getline(file, text, '\0');
    if (!file.is_open() || file.bad()) {
      return absl::NotFoundError(absl::StrCat(flags.config_file, ": cannot be read"));
    }
    options = ParseOptions(text);
    if (!options.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(flags.config_file, ": ", options.status().message()));
    }
  }
  if (!flags.access_token_ttl.empty()) {
    const absl::StatusOr<absl::Duration> ttl = ParseAccessTokenTtl(flags.access_token_ttl);
    if (!ttl.ok()) return ttl.status();
    options->oauth.access_token_ttl = *ttl;
  }
  options->seed = flags.seed;
  return options;
}

// Whoever waits for the file must never read half a number, so it appears by a rename.
absl::Status WritePortFile(const std::string& path, uint16_t port) {
  const std::string temporary = absl::StrCat(path, ".", getpid(), ".tmp");
  const std::string text = absl::StrCat(port, "\n");
  const auto failed = [&] {
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  };
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return failed();
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  absl::Status status = written ? absl::OkStatus() : failed();
  close(fd);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = failed();
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

int Serve(const Flags& flags) {
  const pid_t parent = getppid();
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  // A reader that closed our stdout is no reason to die.
  signal(SIGPIPE, SIG_IGN);
  if (flags.with_parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) return Fail(1, "prctl refused the parent watch");
    // The signal is sent only for a death after the call above.
    if (getppid() != parent) return 0;
  }

  const absl::StatusOr<SandboxOptions> options = LoadOptions(flags);
  if (!options.ok()) return Fail(2, options.status().message());
  const absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(*options, flags.port);
  if (!server.ok()) return Fail(1, server.status().message());
  if (!flags.port_file.empty()) {
    if (absl::Status status = WritePortFile(flags.port_file, (*server)->port()); !status.ok()) {
      return Fail(1, status.message());
    }
  }
  std::cout << "listening on http://127.0.0.1:" << (*server)->port() << std::endl;

  int signal_number = 0;
  while (sigwait(&ending, &signal_number) == EINTR) {
  }
  return 0;
}

}  // namespace
}  // namespace keyturn::sandbox

int main(int argc, char** argv) {
  keyturn::sandbox::Flags flags;
  CLI::App app("A local stand-in for the services Keyturn talks to. Fake secrets only.",
               "keyturn-sandbox");
  app.add_option("--port", flags.port, "Port on 127.0.0.1; 0 takes any free one");
  app.add_option("--port-file", flags.port_file, "Write the port here once listening");
  app.add_option("--config", flags.config_file, "JSON file; see the sandbox's README");
  app.add_option("--access-token-ttl", flags.access_token_ttl,
                 "Lifetime of access tokens, such as 10s; overrides the configuration");
  app.add_option("--seed", flags.seed, "Issue the same tokens in every run with this number");
  app.add_flag("--with-parent", flags.with_parent, "End when the process that started this ends");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return keyturn::sandbox::Serve(flags);
}

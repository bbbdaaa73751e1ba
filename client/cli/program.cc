// SPDX-License-Identifier: Apache-2.0
// The parser: global options, all commands, and what a wrong command line is answered with. CLI11
// reports by exceptions; they end here.
#include "client/cli/program.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/duration_text.h"
#include "client/cli/exit_code.h"
#include "client/cli/session.h"

namespace keyturn::cli {
namespace {

constexpr char kFooter[] = R"(Examples:
  keyturn apply -f resources.yaml         make what the file says true
  keyturn list                            all credentials, and when each is next due
  keyturn get support-bot/dify            print the value, and nothing else
  keyturn put crm/client-secret < FILE    store a value that a person gives
  keyturn status                          what fails, and how long consumers have left

Sockets:
  --socket, else $KEYTURN_ADMIN_SOCKET, else /run/keyturn/admin.sock, else that of your own
  `keyturnd --dev`. get, watch and whoami also work for ordinary users, through the services
  socket: --services-socket, else $KEYTURN_SOCKET, else keyturn.sock beside the admin socket.

Exit codes:
  0  done                                 4    not allowed
  1  the agent could not do it            5    no agent at the socket
  2  wrong arguments or input             6    a person must act first: consent, a first value
  3  no such name; or, with               130  interrupted
     status --check, something is broken
)";

constexpr char kCommandFooter[] =
    "Also, as `keyturn --help` explains: --socket, --services-socket, -o, --timeout, --no-color\n";

// How many letters must be changed, added or taken away to get from one word to the other.
size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

void AddGlobalOptions(CLI::App& program, Session& session) {
  GlobalOptions& options = session.options;
  program.add_option("--socket", options.socket, "The agent's admin socket")->type_name("PATH");
  program
      .add_option("--services-socket", options.services_socket,
                  "The agent's services socket, for get, watch and whoami")
      ->type_name("PATH");
  program.add_option("-o,--output", options.output, "table (for people) or json (for scripts)")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json"}));
  AddDurationOption(
      program, "--timeout", options.timeout,
      "The longest a command may take [30s; rotate, refresh: 5m; login: 10m; disown: 1m; rotate "
      "--wait: no limit]",
      &options.timeout_given);
  program.add_flag("--no-color", options.no_color, "No bold headers on a terminal");
  program.set_version_flag("--version", "keyturn " KEYTURN_VERSION);
}

void AddCommands(CLI::App& program, Session& session) {
  AddApplyCommand(program, session);
  AddPlanCommand(program, session);
  AddExportCommand(program, session);
  AddListCommand(program, session);
  AddShowCommand(program, session);
  AddGetCommand(program, session);
  AddPutCommand(program, session);
  AddDeleteCommand(program, session);
  AddRotateCommand(program, session);
  AddUndoCommand(program, session);
  AddDisownCommand(program, session);
  AddCalendarCommand(program, session);
  AddRefreshCommand(program, session);
  AddLoginCommand(program, session);
  AddTestCommand(program, session);
  AddRevokeCommand(program, session);
  AddWatchCommand(program, session);
  AddHistoryCommand(program, session);
  AddRecipesCommand(program, session);
  AddPresetsCommand(program, session);
  AddBackupCommand(program, session);
  AddStatusCommand(program, session);
  AddWhoAmICommand(program, session);
  AddVersionCommand(program, session);
  AddCompleteCommand(program, session);
}

void ExplainUsage(const CLI::App& program, const CLI::ParseError& error, Session& session) {
  const auto chosen = program.get_subcommands();
  const std::vector<std::string> rest = program.remaining();
  if (!chosen.empty()) {
    session.FailUsage(absl::StrCat(chosen[0]->get_name(), ": ", error.what()),
                      absl::StrCat("keyturn ", chosen[0]->get_name(), " --help shows how"));
    return;
  }
  const auto typed = std::find_if(rest.begin(), rest.end(), [](const std::string& argument) {
    return !argument.empty() && argument[0] != '-';
  });
  if (typed == rest.end()) {
    session.FailUsage(error.what(), "keyturn --help shows all commands");
    return;
  }
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  const std::string nearest = NearestCommand(*typed, names);
  session.FailUsage(absl::StrCat("there is no command '", *typed, "'"),
                    nearest.empty() ? "keyturn --help shows all commands"
                                    : absl::StrCat("did you mean `keyturn ", nearest, "`?"));
}

}  // namespace

std::string NearestCommand(const std::string& typed, const std::vector<std::string>& commands) {
  std::string nearest;
  size_t best = 3;  // further away is a guess
  for (const std::string& command : commands) {
    if (command.empty() || command[0] == '_') continue;
    const size_t distance = EditDistance(typed, command);
    if (distance < best && distance < command.size()) {
      best = distance;
      nearest = command;
    }
  }
  return nearest;
}

CLI::Option* AddDurationOption(CLI::App& command, const std::string& name, absl::Duration& value,
                               const std::string& description, bool* given) {
  return command
      .add_option_function<std::string>(
          name,
          [name, &value, given](const std::string& text) {
            const absl::StatusOr<absl::Duration> parsed = ParseDuration(text);
            if (!parsed.ok()) {
              throw CLI::ValidationError(name, std::string(parsed.status().message()));
            }
            value = *parsed;
            if (given != nullptr) *given = true;
          },
          description)
      ->type_name("DURATION");
}

int RunProgram(int argc, char** argv) {
  Session session;
  CLI::App program(
      "keyturn: hand out, look after and administer the credentials of a Keyturn agent", "keyturn");
  program.require_subcommand(1);
  program.fallthrough();
  program.get_formatter()->column_width(34);
  AddGlobalOptions(program, session);
  AddCommands(program, session);
  for (CLI::App* command : program.get_subcommands({})) {
    command->footer(absl::StrCat(command->get_footer(), "\n\n", kCommandFooter));
  }
  program.footer(kFooter);
  if (argc <= 1) {
    fputs(program.help().c_str(), stderr);
    return kExitUsage;
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return program.exit(wanted) == 0 ? kExitOk : kExitError;
  } catch (const CLI::ParseError& error) {
    ExplainUsage(program, error, session);
  }
  return session.exit_code();
}

}  // namespace keyturn::cli

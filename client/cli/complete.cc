// SPDX-License-Identifier: Apache-2.0
// `keyturn __complete names`: the names of credentials, one a line, for the shells' completions.
// Says nothing when there is no agent: a completion must never get in the way.
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

void Run(Session& session) {
  const auto admin = session.Admin();
  if (!admin.ok()) return;
  const auto response = (*admin)->List({}, session.TimeoutOr(absl::Seconds(1)));
  if (!response.ok()) return;
  std::string text;
  for (const v1::CredentialSummary& credential : response->credentials()) {
    absl::StrAppend(&text, Printable(credential.name()), "\n");
  }
  session.Print(text);
}

}  // namespace

void AddCompleteCommand(CLI::App& program, Session& session) {
  CLI::App* command = program.add_subcommand("__complete", "Names, for the shells' completions");
  command->group("");  // not in --help
  command->require_subcommand(1);
  command->add_subcommand("names", "The credentials' names")->callback([&session] {
    Run(session);
  });
}

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// `keyturn version`: this program's version and the agent's, when there is one to ask.
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress.h"
#include "client/cli/table.h"
#include "keyturn/errors.h"

namespace keyturn::cli {
namespace {

absl::StatusOr<v1::StatusResponse> AskAgent(const Session& session) {
  const auto admin = session.Admin();
  if (!admin.ok()) return admin.status();
  const Progress progress("asking the agent");
  return (*admin)->Status(session.options.timeout);
}

void Run(Session& session) {
  const absl::StatusOr<v1::StatusResponse> status = AskAgent(session);
  if (!status.ok() && !IsUnreachable(status.status())) {
    return session.Fail({.what = "cannot ask the agent for its version"}, status.status());
  }
  if (session.json()) {
    nlohmann::ordered_json json = {{"client", KEYTURN_VERSION}, {"agent", nullptr}};
    if (status.ok()) json["agent"] = status->version();
    return session.Print(absl::StrCat(json.dump(2), "\n"));
  }
  Facts facts;
  facts.Add("keyturn", KEYTURN_VERSION);
  facts.Add("keyturnd", status.ok() ? status->version()
                                    : absl::StrCat("not known: ", status.status().message()));
  session.Print(facts.Render());
}

}  // namespace

void AddVersionCommand(CLI::App& program, Session& session) {
  CLI::App* command =
      program.add_subcommand("version", "Show this program's and the agent's version");
  command->footer(
      "Examples:\n"
      "  keyturn version\n"
      "  keyturn --version      without asking the agent");
  command->callback([&session] { Run(session); });
}

}  // namespace keyturn::cli

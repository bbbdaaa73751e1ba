// SPDX-License-Identifier: Apache-2.0
// `keyturn export`: all resources as the YAML that `keyturn apply` takes.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"

namespace keyturn::cli {
namespace {

void Run(Session& session) {
  const ErrorContext context = {.what = "cannot export"};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  absl::StatusOr<v1::ExportResponse> response;
  {
    const Progress progress("exporting");
    response = (*admin)->Export(session.options.timeout);
  }
  if (!response.ok()) return session.Fail(context, response.status());
  session.Print(session.json() ? absl::StrCat(ToJson(*response).dump(2), "\n") : response->yaml());
}

}  // namespace

void AddExportCommand(CLI::App& program, Session& session) {
  CLI::App* command = program.add_subcommand("export", "Print all resources as YAML, no secrets");
  command->footer(
      "Examples:\n"
      "  keyturn export > resources.yaml\n"
      "  keyturn export | keyturn plan -f -      nothing to change");
  command->callback([&session] { Run(session); });
}

}  // namespace keyturn::cli

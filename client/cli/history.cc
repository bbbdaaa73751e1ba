// SPDX-License-Identifier: Apache-2.0
// `keyturn history`: what happened to a credential, newest first.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/duration_text.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/summary.h"
#include "client/cli/table.h"
#include "client/lib/messages.h"

namespace keyturn::cli {
namespace {

void Run(const v1::HistoryRequest& request, Session& session) {
  const ErrorContext context = {
      .what = absl::StrCat("cannot show the history of '", request.name(), "'"),
      .name = request.name()};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  absl::StatusOr<v1::HistoryResponse> response;
  {
    const Progress progress("asking the agent");
    response = (*admin)->History(request, session.options.timeout);
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  if (response->entries().empty()) return session.Print("nothing has happened yet\n");
  Table table({"AT", "WHAT", "OUTCOME", "VERSION", "TOOK", "DETAIL"});
  for (const v1::HistoryEntry& entry : response->entries()) {
    table.Add({FormatLocal(client::TimeOf(entry.at()), absl::LocalTimeZone()), entry.what(),
               entry.outcome(), VersionWord(entry.version()),
               DurationWord(entry.has_took(), entry.took()), entry.detail()});
  }
  session.Print(table.Render(session.bold()));
}

}  // namespace

void AddHistoryCommand(CLI::App& program, Session& session) {
  struct Options {
    std::string name;
    uint32_t limit = 20;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("history", "Show what happened to a credential");
  command->add_option("name", options->name, "The credential's name")
      ->required()
      ->type_name("NAME");
  command->add_option("-n,--limit", options->limit, "How many entries, newest first [20]")
      ->type_name("N")
      ->check(CLI::Range(1, 200));
  command->footer(
      "Examples:\n"
      "  keyturn history support-bot/dify\n"
      "  keyturn history crm/token -n 200 -o json");
  command->callback([options, &session] {
    v1::HistoryRequest request;
    request.set_name(options->name);
    request.set_limit(options->limit);
    Run(request, session);
  });
}

}  // namespace keyturn::cli

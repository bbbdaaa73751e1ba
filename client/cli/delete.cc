// SPDX-License-Identifier: Apache-2.0
// `keyturn delete`: removes a resource from the agent.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

void Run(const v1::DeleteRequest& request, Session& session) {
  const ErrorContext context = {
      .what = absl::StrCat("cannot delete ", request.type(), " '", request.name(), "'")};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  absl::StatusOr<v1::DeleteResponse> response;
  {
    const Progress progress("deleting");
    response = (*admin)->Delete(request, session.TimeoutOr(absl::Minutes(2)));
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  const std::string note = Printable(response->note());
  session.Print(absl::StrCat(request.type(), " ", request.name(), " deleted",
                             note.empty() ? "" : absl::StrCat("; ", note), "\n"));
}

}  // namespace

void AddDeleteCommand(CLI::App& program, Session& session) {
  struct Options {
    std::string type;
    std::string name;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("delete", "Remove a credential, provider or policy from the agent");
  command->add_option("type", options->type, "credential, provider or policy")
      ->required()
      ->type_name("TYPE")
      ->check(CLI::IsMember({"credential", "provider", "policy"}));
  command->add_option("name", options->name, "Its name")->required()->type_name("NAME");
  command->footer(
      "Keys that exist at the provider stay valid. Tokens are ended at the server where the\n"
      "credential states a revocation_url; when that fails, it is said, and deleted all the same.\n"
      "\n"
      "Examples:\n"
      "  keyturn delete credential support-bot/dify\n"
      "  keyturn delete policy support-bot");
  command->callback([options, &session] {
    v1::DeleteRequest request;
    request.set_type(options->type);
    request.set_name(options->name);
    Run(request, session);
  });
}

}  // namespace keyturn::cli

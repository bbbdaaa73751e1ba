// SPDX-License-Identifier: Apache-2.0
// `keyturn delete`: removes a resource from the agent.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"

namespace keyturn::cli {
namespace {

void Run(const v1::DeleteRequest& request, Session& session) {
  const ErrorContext context = {
      .what = absl::StrCat("cannot delete ", request.type(), " '", request.name(), "'")};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  absl::Status status;
  {
    const Progress progress("deleting");
    status = (*admin)->Delete(request, session.options.timeout);
  }
  if (!status.ok()) return session.Fail(context, status);
  session.Print(session.json() ? "{}\n"
                               : absl::StrCat(request.type(), " ", request.name(), " deleted\n"));
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
      "Nothing is revoked at the provider: keys that exist there stay valid.\n"
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

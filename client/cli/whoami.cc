// SPDX-License-Identifier: Apache-2.0
// `keyturn whoami`: who the agent takes the user for, and what policies allow.
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/progress.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

std::string JsonText(const Identity& identity) {
  nlohmann::ordered_json json = {{"principal", identity.principal},
                                 {"uid", identity.uid},
                                 {"gid", identity.gid},
                                 {"pid", identity.pid},
                                 {"user", identity.user},
                                 {"groups", identity.groups},
                                 {"admin", identity.admin}};
  json["grants"] = nlohmann::ordered_json::array();
  for (const Identity::Grant& grant : identity.grants) {
    json["grants"].push_back(
        {{"policy", grant.policy}, {"actions", grant.actions}, {"names", grant.names}});
  }
  return absl::StrCat(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace), "\n");
}

std::string FactsText(const Identity& identity, const std::string& socket_path) {
  Facts facts;
  facts.Add("principal", identity.principal);
  facts.Add("user", absl::StrCat(identity.user, identity.user.empty() ? "" : " ", "(uid ",
                                 identity.uid, ", gid ", identity.gid, ")"));
  facts.Add("groups", absl::StrJoin(identity.groups, " "));
  facts.Add("socket",
            absl::StrCat(socket_path, identity.admin ? " (administrators)" : " (services)"));
  return facts.Render();
}

void Run(Session& session) {
  const ErrorContext context = {.what = "cannot ask who you are"};
  const auto client = session.Services();
  if (!client.ok()) return session.Fail(context, client.status());
  absl::StatusOr<Identity> identity;
  {
    const Progress progress("asking the agent");
    identity = (*client)->WhoAmI(session.options.timeout);
  }
  if (!identity.ok()) return session.Fail(context, identity.status());
  if (session.json()) return session.Print(JsonText(*identity));
  session.Print(FactsText(*identity, (*client)->socket_path()));
  if (identity->grants.empty()) return session.Print("\nno policy allows you anything\n");
  Table table({"POLICY", "ALLOWS", "ON"});
  for (const Identity::Grant& grant : identity->grants) {
    table.Add({grant.policy, absl::StrJoin(grant.actions, ", "), absl::StrJoin(grant.names, ", ")});
  }
  session.Print(absl::StrCat("\n", table.Render(session.bold())));
}

}  // namespace

void AddWhoAmICommand(CLI::App& program, Session& session) {
  CLI::App* command =
      program.add_subcommand("whoami", "Show who you are to the agent and what you may do");
  command->footer(
      "Examples:\n"
      "  keyturn whoami\n"
      "  sudo -u support keyturn whoami      what a service's user may do");
  command->callback([&session] { Run(session); });
}

}  // namespace keyturn::cli

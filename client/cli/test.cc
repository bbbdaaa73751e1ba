// SPDX-License-Identifier: Apache-2.0
// `keyturn test`: tries a credential at its service, and says what the answer means.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/summary.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

void Run(const std::string& name, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot test '", name, "'"), .name = name};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::TestCredentialRequest request;
  request.set_name(name);
  absl::StatusOr<v1::TestCredentialResponse> response;
  {
    const Progress progress("asking the service");
    response = (*admin)->TestCredential(request, session.TimeoutOr(absl::Minutes(2)));
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (response->outcome() != "accepted") session.set_exit_code(kExitError);
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  const std::string status =
      response->http_status() == 0 ? "" : absl::StrCat("HTTP ", response->http_status(), ", ");
  session.Print(absl::StrCat(name, ": ", Printable(response->outcome()), " (", status,
                             DurationWord(response->has_took(), response->took()), ")\n",
                             Printable(response->detail()), "\n"));
}

}  // namespace

void AddTestCommand(CLI::App& program, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command =
      program.add_subcommand("test", "Try a credential at its service, changing nothing there");
  command->add_option("name", *name, "The credential's name")->required()->type_name("NAME");
  command->footer(
      "A token is tried with a GET of its `test: { url: ... }`, and refreshed first when it has\n"
      "expired; a key with the call its recipe verifies keys with. The exit code is 0 when the\n"
      "service accepts it, 1 when it does anything else.\n"
      "\n"
      "Examples:\n"
      "  keyturn test crm/token\n"
      "  keyturn test support-bot/dify -o json | jq -r .outcome");
  command->callback([name, &session] { Run(*name, session); });
}

}  // namespace keyturn::cli

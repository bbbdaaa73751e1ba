// SPDX-License-Identifier: Apache-2.0
// `keyturn revoke`: ends a token at its server. That cannot be taken back, so it asks first.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

bool Confirmed(const std::string& name) {
  fputs(absl::StrCat("End the tokens of ", name,
                     "? Consumers lose them at once, and where a person consented, they have to "
                     "consent again. [y/N] ")
            .c_str(),
        stderr);
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "yes" || answer == "Y");
}

std::string Explain(const v1::RevokeResponse& response) {
  std::string text;
  for (const auto& [what, word] : {std::pair("refresh token", &response.refresh_token()),
                                   std::pair("access token", &response.access_token())}) {
    absl::StrAppend(&text, what, ": ");
    const std::string why =
        response.detail().empty() ? "" : absl::StrCat(" (", Printable(response.detail()), ")");
    if (*word == "unsupported") {
      absl::StrAppend(&text,
                      "forgotten here, but the server has no way to end it: it stays valid "
                      "there until it expires\n");
    } else if (*word == "failed") {
      // What could still be ended with a second try has been kept.
      const bool kept = response.refresh_token() == "failed" || response.refresh_token() == "none";
      absl::StrAppend(&text,
                      kept ? "the server did not end it; it is kept: try again"
                           : "forgotten here, but the server did not end it: it stays valid there "
                             "until it expires",
                      why, "\n");
    } else {
      absl::StrAppend(&text, Printable(*word), "\n");
    }
  }
  return text;
}

void Run(const std::string& name, bool yes, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot revoke '", name, "'"), .name = name};
  if (!yes && isatty(STDIN_FILENO) == 0) {
    return session.FailUsage(
        "revoke cannot be taken back, and there is nobody to ask",
        absl::StrCat("keyturn revoke ", name, " --yes does it without asking"));
  }
  if (!yes && !Confirmed(name)) return session.Print("nothing was changed\n");
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::RevokeRequest request;
  request.set_name(name);
  absl::StatusOr<v1::RevokeResponse> response;
  {
    const Progress progress("ending the tokens at the server");
    response = (*admin)->Revoke(request, session.TimeoutOr(absl::Minutes(2)));
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (response->refresh_token() == "failed" || response->access_token() == "failed") {
    session.set_exit_code(kExitError);
  }
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  session.Print(Explain(*response));
}

}  // namespace

void AddRevokeCommand(CLI::App& program, Session& session) {
  struct Options {
    std::string name;
    bool yes = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("revoke", "End an OAuth token at its server, and forget it here");
  command->add_option("name", options->name, "The credential's name")
      ->required()
      ->type_name("NAME");
  command->add_flag("--yes", options->yes, "Do not ask");
  command->footer(
      "The credential stays. A token that a person consented to needs their consent again; any\n"
      "other is got anew when somebody asks for it.\n"
      "\n"
      "Examples:\n"
      "  keyturn revoke crm/token\n"
      "  keyturn revoke crm/token --yes");
  command->callback([options, &session] { Run(options->name, options->yes, session); });
}

}  // namespace keyturn::cli

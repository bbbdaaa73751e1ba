// SPDX-License-Identifier: Apache-2.0
// `keyturn refresh`: gets a new OAuth token now.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/summary.h"

namespace keyturn::cli {
namespace {

void Run(const std::string& name, bool in_doubt, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot refresh '", name, "'"), .name = name};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::RefreshRequest request;
  request.set_name(name);
  request.set_in_doubt(in_doubt);
  absl::StatusOr<v1::RefreshResponse> response;
  {
    const Progress progress("refreshing");
    response = (*admin)->Refresh(request, session.TimeoutOr(absl::Minutes(5)));
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  const std::string expires =
      RelativeWord(response->has_expires_at(), response->expires_at(), absl::Now());
  session.Print(absl::StrCat(name, ": version ", response->version(),
                             expires.empty() ? "" : absl::StrCat(", expires ", expires), "\n"));
}

}  // namespace

void AddRefreshCommand(CLI::App& program, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand("refresh", "Refresh an OAuth token now");
  command->add_option("name", *name, "The credential's name")->required()->type_name("NAME");
  auto in_doubt = std::make_shared<bool>(false);
  command->add_flag("--in-doubt", *in_doubt,
                    "Use the refresh token even though it may be used up: the server may end the "
                    "grant");
  command->footer(
      "Examples:\n"
      "  keyturn refresh crm/token\n"
      "  keyturn refresh crm/token --in-doubt   after a backup was put back");
  command->callback([name, in_doubt, &session] { Run(*name, *in_doubt, session); });
}

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// `keyturn disown`: says that keys of unknown origin at a provider are not Keyturn's.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"

namespace keyturn::cli {
namespace {

void Run(const std::string& name, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot disown keys beside '", name, "'"),
                                .name = name};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::DisownRequest request;
  request.set_name(name);
  absl::StatusOr<v1::DisownResponse> response;
  {
    const Progress progress("listing the provider's keys");
    response = (*admin)->Disown(request, session.TimeoutOr(absl::Minutes(1)));
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  if (response->key_ids().empty()) {
    return session.Print(
        absl::StrCat(name, ": every key at the provider is accounted for; nothing to disown\n"));
  }
  session.Print(absl::StrCat(
      name, ": left alone from now on: ", absl::StrJoin(response->key_ids(), ", "), "\n"));
}

}  // namespace

void AddDisownCommand(CLI::App& program, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand(
      "disown", "Declare keys of unknown origin at the provider to be somebody else's");
  command->add_option("name", *name, "The credential's name")->required()->type_name("NAME");
  command->footer(
      "For UNKNOWN_KEY and ROTATION_AMBIGUOUS, once a person has looked at the provider. Keys that "
      "are\n"
      "declared so are never deleted and never alerted on again. Refused where the provider lists "
      "no "
      "keys\n"
      "that could be accounted for.\n"
      "Examples:\n"
      "  keyturn disown support-bot/dify");
  command->callback([name, &session] { Run(*name, session); });
}

}  // namespace keyturn::cli

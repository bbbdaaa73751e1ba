// SPDX-License-Identifier: Apache-2.0
// `keyturn undo`: takes back a rotation whose old key is still alive.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/summary.h"

namespace keyturn::cli {
namespace {

void Run(const std::string& name, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot undo the rotation of '", name, "'"),
                                .name = name};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::UndoRequest request;
  request.set_name(name);
  const auto response = (*admin)->Undo(request, session.TimeoutOr(absl::Seconds(30)));
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  const std::string grace =
      RelativeWord(response->has_grace_until(), response->grace_until(), absl::Now());
  session.Print(absl::StrCat(name, ": version ", response->version(), " is current again",
                             grace.empty() ? "" : absl::StrCat("; the other one ends ", grace),
                             "\n"));
}

}  // namespace

void AddUndoCommand(CLI::App& program, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand(
      "undo", "Make the retiring key current again, while it is in its grace");
  command->add_option("name", *name, "The credential's name")->required()->type_name("NAME");
  command->footer(
      "The key that replaced it retires instead, with a grace of its own.\n"
      "Examples:\n"
      "  keyturn undo support-bot/dify");
  command->callback([name, &session] { Run(*name, session); });
}

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// `keyturn rotate`: starts a rotation now and prints its steps as they happen. The rotation is the
// agent's: it goes on when this program ends. With --dry-run, what it would do.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/duration_text.h"
#include "client/cli/message_json.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

constexpr absl::Duration kUntilHandedOut = absl::Minutes(5);

void PrintStep(const v1::RotateResponse& step, Session& session) {
  if (session.json()) return session.Print(absl::StrCat(ToJson(step).dump(), "\n"));
  std::string line =
      absl::StrCat(FormatLocal(absl::Now(), absl::LocalTimeZone()), "  ", Printable(step.state()));
  if (step.version() != 0) absl::StrAppend(&line, "  version ", step.version());
  if (!step.detail().empty()) absl::StrAppend(&line, "  ", Printable(step.detail()));
  session.Print(absl::StrCat(line, "\n"));
}

void PrintPreview(const std::vector<v1::RotateResponse>& steps, Session& session) {
  if (session.json()) {
    for (const v1::RotateResponse& step : steps) PrintStep(step, session);
    return;
  }
  Table table({"STEP", "WHAT"});
  for (const v1::RotateResponse& step : steps) table.Add({step.state(), step.detail()});
  session.Print(absl::StrCat(table.Render(session.bold()), "nothing was done\n"));
}

void Run(const v1::RotateRequest& request, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot rotate '", request.name(), "'"),
                                .name = request.name()};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  // A grace of days is not too long for who wants to wait for its end.
  const absl::Duration timeout =
      session.TimeoutOr(request.wait_until_done() ? absl::InfiniteDuration() : kUntilHandedOut);
  std::vector<v1::RotateResponse> previewed;
  const absl::Status status = (*admin)->Rotate(
      request, timeout, [&session, &previewed, &request](const v1::RotateResponse& step) {
        if (request.dry_run()) {
          previewed.push_back(step);
        } else {
          PrintStep(step, session);
        }
      });
  if (!status.ok()) return session.Fail(context, status);
  if (request.dry_run()) PrintPreview(previewed, session);
}

}  // namespace

void AddRotateCommand(CLI::App& program, Session& session) {
  struct Options {
    std::string name;
    bool wait = false;
    bool dry_run = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("rotate", "Replace an API key now");
  command->add_option("name", options->name, "The credential's name")
      ->required()
      ->type_name("NAME");
  command->add_flag("--wait", options->wait, "Wait until the old key is revoked, after its grace");
  command->add_flag("--dry-run", options->dry_run, "Only say which calls would be made, in order");
  command->footer(
      "Ends when the new key is handed out. The rotation goes on if you interrupt this.\n"
      "\n"
      "Examples:\n"
      "  keyturn rotate support-bot/dify\n"
      "  keyturn rotate support-bot/dify --dry-run\n"
      "  keyturn rotate support-bot/dify --wait -o json      one JSON object a line");
  command->callback([options, &session] {
    v1::RotateRequest request;
    request.set_name(options->name);
    request.set_wait_until_done(options->wait);
    request.set_dry_run(options->dry_run);
    Run(request, session);
  });
}

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// `keyturn calendar`: what will happen to credentials in the days to come, soonest first.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/duration_text.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/summary.h"
#include "client/cli/table.h"
#include "client/lib/messages.h"

namespace keyturn::cli {
namespace {

constexpr int kDaysDefault = 14;
constexpr int kDaysMost = 400;

void Run(const std::string& match, int days, Session& session) {
  const ErrorContext context = {.what = "cannot show the calendar"};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::CalendarRequest request;
  request.set_match(match);
  request.mutable_ahead()->set_seconds(int64_t{days} * 24 * 3600);
  absl::StatusOr<v1::CalendarResponse> response;
  {
    const Progress progress("asking the agent");
    response = (*admin)->Calendar(request, session.options.timeout);
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  if (response->entries().empty()) {
    return session.Print(
        absl::StrCat("nothing is planned within ", days, days == 1 ? " day" : " days", "\n"));
  }
  const absl::Time now = absl::Now();
  Table table({"AT", "IN", "WHAT", "NAME", "DETAIL"});
  for (const v1::CalendarEntry& entry : response->entries()) {
    table.Add({FormatLocal(client::TimeOf(entry.at()), absl::LocalTimeZone()),
               RelativeWord(entry.has_at(), entry.at(), now), entry.what(), entry.credential(),
               entry.detail()});
  }
  session.Print(table.Render(session.bold()));
  if (response->truncated()) {
    session.Print(
        "there is more: at most 50 entries of one credential and 1000 in all are shown\n");
  }
}

}  // namespace

void AddCalendarCommand(CLI::App& program, Session& session) {
  struct Options {
    std::string match;
    int days = kDaysDefault;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("calendar", "Show what will happen in the days to come");
  command->add_option("--days", options->days, "How many days ahead, up to 400 [14]")
      ->type_name("N")
      ->check(CLI::Range(1, kDaysMost));
  command
      ->add_option("--match", options->match, "Only these names: team/*, ** for all that remains")
      ->type_name("GLOB");
  command->footer(
      "Rotations, ends of grace (revoke), refreshes, expiries, and reminders for keys that a\n"
      "person replaces: what is planned now, if nothing fails.\n"
      "\n"
      "Examples:\n"
      "  keyturn calendar\n"
      "  keyturn calendar --days 90 --match 'support-bot/*'\n"
      "  keyturn calendar -o json | jq -r '.entries[] | select(.what == \"expiry\").credential'");
  command->callback([options, &session] { Run(options->match, options->days, session); });
}

}  // namespace keyturn::cli

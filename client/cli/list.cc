// SPDX-License-Identifier: Apache-2.0
// `keyturn list`: the credentials, and when each is next due.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/summary.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

std::string Note(const v1::CredentialSummary& credential) {
  if (credential.failure().empty()) return credential.rotation_state();
  if (credential.rotation_state().empty()) return credential.failure();
  return absl::StrCat(credential.rotation_state(), ", ", credential.failure());
}

void Run(const std::string& match, Session& session) {
  const ErrorContext context = {.what = "cannot list"};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::ListRequest request;
  request.set_match(match);
  absl::StatusOr<v1::ListResponse> response;
  {
    const Progress progress("listing");
    response = (*admin)->List(request, session.options.timeout);
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  if (response->credentials().empty()) {
    session.Print(match.empty() ? "no credentials yet: keyturn apply -f FILE makes some\n"
                                : absl::StrCat("no credential matches '", match, "'\n"));
    return;
  }
  const absl::Time now = absl::Now();
  Table table({"NAME", "KIND", "HEALTH", "VERSION", "LIFETIME", "EXPIRES", "NEXT", "RUNWAY",
               "CONSENT ENDS", "SOURCE", "NOTE"});
  for (const v1::CredentialSummary& credential : response->credentials()) {
    table.Add({credential.name(), KindWord(credential.kind()), HealthWord(credential.health()),
               VersionWord(credential.current_version()),
               DurationWord(credential.has_lifetime(), credential.lifetime()),
               RelativeWord(credential.has_expires_at(), credential.expires_at(), now),
               RelativeWord(credential.has_next_at(), credential.next_at(), now),
               DurationWord(credential.has_runway(), credential.runway()),
               RelativeWord(credential.has_consent_until(), credential.consent_until(), now),
               credential.source(), Note(credential)});
  }
  session.Print(table.Render(session.bold()));
}

}  // namespace

void AddListCommand(CLI::App& program, Session& session) {
  auto match = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand("list", "List credentials");
  command->add_option("glob", *match, "Only these names: team/*, ** for all that remains")
      ->type_name("GLOB");
  command->footer(
      "Examples:\n"
      "  keyturn list\n"
      "  keyturn list 'support-bot/*'\n"
      "  keyturn list -o json | jq -r '.credentials[] | select(.health != \"ok\").name'");
  command->callback([match, &session] { Run(*match, session); });
}

}  // namespace keyturn::cli

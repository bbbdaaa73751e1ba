// SPDX-License-Identifier: Apache-2.0
// `keyturn show`: one credential with its versions, who holds which, and its open rotation; never
// its value.
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

std::string SummaryText(const v1::DescribeResponse& response, absl::Time now) {
  const v1::CredentialSummary& summary = response.summary();
  Facts facts;
  facts.Add("name", summary.name());
  facts.Add("kind", KindWord(summary.kind()));
  facts.Add("source", summary.source());
  facts.Add("health", HealthWord(summary.health()));
  facts.Add("version", VersionWord(summary.current_version()));
  facts.Add("since", TimeWord(summary.has_current_since(), summary.current_since(), now));
  facts.Add("lifetime", DurationWord(summary.has_lifetime(), summary.lifetime()));
  facts.Add("expires", TimeWord(summary.has_expires_at(), summary.expires_at(), now));
  facts.Add("next", TimeWord(summary.has_next_at(), summary.next_at(), now));
  facts.Add("runway", DurationWord(summary.has_runway(), summary.runway()));
  facts.Add("consent ends", TimeWord(summary.has_consent_until(), summary.consent_until(), now));
  facts.Add("failure", summary.failure());
  facts.Add("last error", response.last_error());
  if (response.has_rotation()) {
    const v1::RotationSummary& rotation = response.rotation();
    facts.Add("rotation", absl::StrCat(rotation.state(), ", attempt ", rotation.attempt(), " (",
                                       rotation.id(), ")"));
    facts.Add("started", TimeWord(rotation.has_started_at(), rotation.started_at(), now));
    facts.Add("next step", TimeWord(rotation.has_next_step_at(), rotation.next_step_at(), now));
    facts.Add("its error", rotation.last_error());
  }
  return facts.Render();
}

std::string VersionsText(const v1::DescribeResponse& response, absl::Time now, bool bold) {
  Table table({"VERSION", "STATE", "HOLDERS", "CREATED", "PROMOTED", "GRACE ENDS", "EXPIRES",
               "ENDED", "PROVIDER KEY"});
  for (const v1::VersionSummary& version : response.versions()) {
    table.Add({VersionWord(version.version()), version.state(),
               version.holders().empty() ? "" : absl::StrCat(version.holders_size()),
               RelativeWord(version.has_created_at(), version.created_at(), now),
               RelativeWord(version.has_promoted_at(), version.promoted_at(), now),
               RelativeWord(version.has_grace_until(), version.grace_until(), now),
               RelativeWord(version.has_expires_at(), version.expires_at(), now),
               RelativeWord(version.has_ended_at(), version.ended_at(), now),
               version.provider_key_id()});
  }
  return table.empty() ? "no version yet\n" : table.Render(bold);
}

std::string HoldersText(const v1::DescribeResponse& response, absl::Time now, bool bold) {
  Table table({"VERSION", "STATE", "HOLDER", "SINCE", "LAST GIVEN", "ACKNOWLEDGED"});
  for (const v1::VersionSummary& version : response.versions()) {
    for (const v1::Holder& holder : version.holders()) {
      table.Add({VersionWord(version.version()), version.state(),
                 holder.principal().empty() ? "others" : holder.principal(),
                 RelativeWord(holder.has_since(), holder.since(), now),
                 RelativeWord(holder.has_last_given(), holder.last_given(), now),
                 holder.acknowledged() ? "yes" : ""});
    }
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render(bold));
}

void Run(const std::string& name, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot show '", name, "'"), .name = name};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  v1::DescribeRequest request;
  request.set_name(name);
  absl::StatusOr<v1::DescribeResponse> response;
  {
    const Progress progress("asking the agent");
    response = (*admin)->Describe(request, session.options.timeout);
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  const absl::Time now = absl::Now();
  session.Print(absl::StrCat(SummaryText(*response, now), "\n",
                             VersionsText(*response, now, session.bold()),
                             HoldersText(*response, now, session.bold())));
  if (!response->spec_yaml().empty()) {
    session.Print(absl::StrCat("\n", Printable(response->spec_yaml(), true)));
  }
}

}  // namespace

void AddShowCommand(CLI::App& program, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand(
      "show", "Show one credential, its versions, who holds them, and its open rotation");
  command->add_option("name", *name, "The credential's name")->required()->type_name("NAME");
  command->footer(
      "The value itself is never shown: keyturn get prints it.\n"
      "\n"
      "Examples:\n"
      "  keyturn show support-bot/dify\n"
      "  keyturn show support-bot/dify -o json | jq .rotation.state");
  command->callback([name, &session] { Run(*name, session); });
}

}  // namespace keyturn::cli

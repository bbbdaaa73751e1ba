// SPDX-License-Identifier: Apache-2.0
// `keyturn status`: the agent as a whole, what fails in it, and how long its tokens last.
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/summary.h"
#include "client/cli/table.h"
#include "client/lib/messages.h"

namespace keyturn::cli {
namespace {

constexpr size_t kTokensShown = 20;

// Word -> how many credentials; every word is there, in the order of urgency.
using HealthCounts = std::vector<std::pair<std::string, int>>;

HealthCounts CountHealth(const v1::ListResponse& list) {
  HealthCounts counts;
  for (const v1::Health health : {v1::BROKEN, v1::DEGRADED, v1::NEEDS_ACTION, v1::OK}) {
    int count = 0;
    for (const v1::CredentialSummary& credential : list.credentials()) {
      if (credential.health() == health) ++count;
    }
    counts.emplace_back(HealthWord(health), count);
  }
  return counts;
}

bool IsUnhealthy(const v1::StatusResponse& status, const v1::ListResponse& list) {
  if (!status.failures().empty()) return true;
  for (const v1::CredentialSummary& credential : list.credentials()) {
    if (credential.health() == v1::BROKEN || credential.health() == v1::DEGRADED) return true;
  }
  return false;
}

std::string FactsText(const v1::StatusResponse& status, const HealthCounts& counts,
                      absl::Time now) {
  std::vector<std::string> words;
  for (const auto& [word, count] : counts) {
    if (count > 0) words.push_back(absl::StrCat(count, " ", word));
  }
  Facts facts;
  facts.Add("agent", absl::StrCat("keyturnd ", status.version()));
  facts.Add("started", TimeWord(status.has_started_at(), status.started_at(), now));
  facts.Add("store", status.store_path());
  facts.Add("credentials", absl::StrCat(status.credentials(), words.empty() ? "" : ": ",
                                        absl::StrJoin(words, ", ")));
  facts.Add("providers", absl::StrCat(status.providers()));
  facts.Add("policies", absl::StrCat(status.policies()));
  facts.Add("open rotations", absl::StrCat(status.open_rotations()));
  facts.Add("connections", absl::StrCat(status.connections()));
  facts.Add("open failures", status.failures().empty() ? "none" : "");
  return facts.Render();
}

std::string FailuresText(const v1::StatusResponse& status, absl::Time now, bool bold) {
  Table table({"FAILURE", "CREDENTIAL", "SINCE", "ATTEMPTS", "NEXT TRY", "RUNWAY", "DETAIL"});
  for (const v1::FailureSummary& failure : status.failures()) {
    table.Add({failure.code(), failure.credential(),
               RelativeWord(failure.has_since(), failure.since(), now),
               failure.attempts() == 0 ? "" : absl::StrCat(failure.attempts()),
               RelativeWord(failure.has_next_retry(), failure.next_retry(), now),
               DurationWord(failure.has_runway(), failure.runway()), failure.detail()});
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render(bold));
}

// Those that consumers will miss first.
std::string TokensText(const v1::ListResponse& list, absl::Time now, bool bold) {
  std::vector<const v1::CredentialSummary*> tokens;
  for (const v1::CredentialSummary& credential : list.credentials()) {
    if (credential.kind() == v1::OAUTH_TOKEN) tokens.push_back(&credential);
  }
  const auto runway = [](const v1::CredentialSummary& token) {
    return token.has_runway() ? client::DurationOf(token.runway()) : absl::InfiniteDuration();
  };
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](const auto* a, const auto* b) { return runway(*a) < runway(*b); });
  const size_t more = tokens.size() - std::min(tokens.size(), kTokensShown);
  tokens.resize(tokens.size() - more);
  Table table({"TOKEN", "HEALTH", "LIFETIME", "EXPIRES", "NEXT REFRESH", "RUNWAY", "CONSENT ENDS"});
  for (const v1::CredentialSummary* token : tokens) {
    table.Add({token->name(), HealthWord(token->health()),
               DurationWord(token->has_lifetime(), token->lifetime()),
               RelativeWord(token->has_expires_at(), token->expires_at(), now),
               RelativeWord(token->has_next_at(), token->next_at(), now),
               DurationWord(token->has_runway(), token->runway()),
               RelativeWord(token->has_consent_until(), token->consent_until(), now)});
  }
  if (table.empty()) return "";
  return absl::StrCat("\n", table.Render(bold),
                      more == 0 ? "" : absl::StrCat("and ", more, " more: keyturn list\n"));
}

void Run(bool check, Session& session) {
  const ErrorContext context = {.what = "cannot show the status"};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  absl::StatusOr<v1::StatusResponse> status;
  absl::StatusOr<v1::ListResponse> list;
  {
    const Progress progress("asking the agent");
    status = (*admin)->Status(session.options.timeout);
    if (status.ok()) list = (*admin)->List({}, session.options.timeout);
  }
  if (!status.ok()) return session.Fail(context, status.status());
  if (!list.ok()) return session.Fail(context, list.status());
  const HealthCounts counts = CountHealth(*list);
  const absl::Time now = absl::Now();
  if (session.json()) {
    nlohmann::ordered_json json = ToJson(*status);
    for (const auto& [word, count] : counts) json["health"][word] = count;
    session.Print(absl::StrCat(json.dump(2), "\n"));
  } else {
    session.Print(absl::StrCat(FactsText(*status, counts, now),
                               FailuresText(*status, now, session.bold()),
                               TokensText(*list, now, session.bold())));
  }
  if (check && IsUnhealthy(*status, *list)) session.set_exit_code(kExitUnhealthy);
}

}  // namespace

void AddStatusCommand(CLI::App& program, Session& session) {
  auto check = std::make_shared<bool>(false);
  CLI::App* command =
      program.add_subcommand("status", "Show the agent, its open failures and its tokens");
  command->add_flag("--check", *check, "Exit with 3 when anything is degraded or broken");
  command->footer(
      "Examples:\n"
      "  keyturn status\n"
      "  keyturn status --check > /dev/null || page-somebody\n"
      "  keyturn status -o json | jq '.failures[] | {code, credential, runway}'");
  command->callback([check, &session] { Run(*check, session); });
}

}  // namespace keyturn::cli

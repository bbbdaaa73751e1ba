// SPDX-License-Identifier: Apache-2.0
// `keyturn apply` and `keyturn plan`: resource files go to the agent as they are, which alone reads
// them, so that both sides can never disagree about what a file means.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/secret_input.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

constexpr size_t kFileBytesMax = 2 * 1024 * 1024;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const bool standard_input = path == "-";
  const int fd = standard_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::UnknownError(std::generic_category().message(errno));
  const absl::StatusOr<SecretString> content = ReadAll(fd, kFileBytesMax);
  if (!standard_input) close(fd);
  if (!content.ok()) return content.status();
  return std::string(content->Reveal());
}

std::string Verb(v1::ResourceChange::Verb verb) {
  return absl::AsciiStrToLower(v1::ResourceChange::Verb_Name(verb));
}

void PrintChanges(const v1::ApplyResponse& response, bool planned, Session& session) {
  if (session.json()) {
    session.Print(absl::StrCat(ToJson(response).dump(2), "\n"));
    return;
  }
  Table table({"TYPE", "NAME", "CHANGE", "FIELDS", "NOTE"});
  int created = 0;
  int updated = 0;
  int unchanged = 0;
  for (const v1::ResourceChange& change : response.changes()) {
    if (change.verb() == v1::ResourceChange::CREATE) ++created;
    if (change.verb() == v1::ResourceChange::UPDATE) ++updated;
    if (change.verb() == v1::ResourceChange::UNCHANGED) ++unchanged;
    table.Add({change.type(), change.name(), Verb(change.verb()),
               absl::StrJoin(change.fields(), ", "), change.note()});
  }
  if (!table.empty()) session.Print(table.Render(session.bold()));
  session.Print(absl::StrCat(planned ? "would be: " : "", created, " created, ", updated,
                             " updated, ", unchanged, " unchanged\n"));
}

void Run(const std::vector<std::string>& paths, bool planned, Session& session) {
  v1::ApplyRequest request;
  for (const std::string& path : paths) {
    absl::StatusOr<std::string> text = ReadFile(path);
    if (!text.ok()) {
      session.FailUsage(absl::StrCat("cannot read ", path, ": ", text.status().message()),
                        "name a readable file, or - for the standard input");
      return;
    }
    v1::SourceFile& file = *request.add_files();
    file.set_name(path == "-" ? "<stdin>" : path);
    file.set_yaml(*std::move(text));
  }
  ErrorContext context = {.what = planned ? "cannot plan" : "cannot apply"};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  absl::StatusOr<v1::ApplyResponse> response;
  {
    const Progress progress(planned ? "planning" : "applying");
    response = planned ? (*admin)->Plan(request, session.options.timeout)
                       : (*admin)->Apply(request, session.options.timeout);
  }
  if (response.ok()) return PrintChanges(*response, planned, session);
  for (const v1::SourceFile& file : request.files()) {
    if (absl::StartsWith(response.status().message(), absl::StrCat(file.name(), ":"))) {
      context.message_has_place = true;
    }
  }
  session.Fail(context, response.status());
}

void AddCommand(CLI::App& program, Session& session, bool planned) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App* command = program.add_subcommand(
      planned ? "plan" : "apply", planned ? "Show what apply would change, without changing it"
                                          : "Make the resources in YAML files true");
  command->add_option("-f,--file", *paths, "A resource file, or - for the standard input")
      ->required()
      ->type_name("FILE");
  command->footer(planned ? "Examples:\n"
                            "  keyturn plan -f resources.yaml\n"
                            "  keyturn plan -f base.yaml team.yaml -o json"
                          : "Resources that the files do not name stay as they are.\n"
                            "\n"
                            "Examples:\n"
                            "  keyturn apply -f resources.yaml\n"
                            "  generate-resources | keyturn apply -f -");
  command->callback([paths, planned, &session] { Run(*paths, planned, session); });
}

}  // namespace

void AddApplyCommand(CLI::App& program, Session& session) { AddCommand(program, session, false); }
void AddPlanCommand(CLI::App& program, Session& session) { AddCommand(program, session, true); }

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// `keyturn get`: prints a credential's value and nothing else on stdout.
#include <unistd.h>

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress.h"
#include "client/cli/value_output.h"

namespace keyturn::cli {
namespace {

struct Options {
  std::string name;
  std::string field;
  std::string form;
  absl::Duration min_remaining = absl::ZeroDuration();
};

void PrintValue(const SecretString& value, Session& session) {
  session.Print(value.Reveal());
  // A shell's prompt belongs on its own line; a pipe gets the exact bytes.
  if (isatty(STDOUT_FILENO) == 1) session.Print("\n");
}

void PrintCredential(const Credential& credential, const Options& options, Session& session) {
  const std::string form = options.form.empty() ? session.options.output : options.form;
  const ErrorContext context = {.what = absl::StrCat("cannot print '", options.name, "'"),
                                .name = options.name};
  if (form == "json") return session.Print(ValueAsJson(credential).Reveal());
  if (form == "env" || form == "header") {
    const absl::StatusOr<SecretString> text =
        form == "env" ? ValueAsEnvironment(credential) : ValueAsHeader(credential);
    if (!text.ok()) return session.Fail(context, text.status());
    return session.Print(text->Reveal());
  }
  const std::string& name = options.field.empty() ? credential.primary : options.field;
  const CredentialField* field = credential.Find(name);
  if (field == nullptr) {
    return session.Fail(context, absl::NotFoundError(absl::StrCat("it has no field '", name, "'")));
  }
  PrintValue(field->value, session);
}

void Run(const Options& options, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot get '", options.name, "'"),
                                .name = options.name};
  if (!options.field.empty() && !options.form.empty()) {
    return session.FailUsage("get: --field prints one bare value and goes without -o",
                             "leave out one of them");
  }
  const auto client = session.Services();
  if (!client.ok()) return session.Fail(context, client.status());
  absl::StatusOr<Credential> credential;
  {
    const Progress progress("asking for a valid value");
    credential = (*client)->Get(
        options.name, {.min_remaining = options.min_remaining, .timeout = session.options.timeout});
  }
  if (!credential.ok()) return session.Fail(context, credential.status());
  PrintCredential(*credential, options, session);
}

}  // namespace

void AddGetCommand(CLI::App& program, Session& session) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("get", "Print the current value of a credential");
  command->add_option("name", options->name, "The credential's name")
      ->required()
      ->type_name("NAME");
  command->add_option("--field", options->field, "Another field than the primary one")
      ->type_name("FIELD");
  AddDurationOption(*command, "--min-remaining", options->min_remaining,
                    "Ask for a value that stays valid at least this long");
  command
      ->add_option("-o,--output", options->form,
                   "json, env (shell assignments) or header (an HTTP header line)")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"json", "env", "header"}));
  command->footer(
      "Prints the bare value; a line break follows only on a terminal.\n"
      "\n"
      "Examples:\n"
      "  keyturn get support-bot/dify\n"
      "  keyturn get crm/token --min-remaining 5m\n"
      "  keyturn get aws/uploader --field access_key_id\n"
      "  keyturn get crm/token -o header | curl -H @- https://crm.example.com/contacts");
  command->callback([options, &session] { Run(*options, session); });
}

}  // namespace keyturn::cli

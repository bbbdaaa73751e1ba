// SPDX-License-Identifier: Apache-2.0
// `keyturn put`: stores a value that a person has. It comes from the standard input or from a
// hidden prompt, never from an argument or a variable, where other processes could see it.
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/secret_input.h"
#include "client/lib/messages.h"

namespace keyturn::cli {
namespace {

struct Options {
  std::string name;
  std::vector<std::string> fields;
  bool from_json = false;
  std::string key_id;
  absl::Duration expires_in = absl::ZeroDuration();
};

struct NamedValue {
  std::string name;
  SecretString value;
};

using Values = absl::StatusOr<std::vector<NamedValue>>;

// The parser's own copies are wiped here; what it held while parsing cannot be reached.
Values ReadJsonFields() {
  constexpr size_t kFieldsMax = 16;
  const absl::StatusOr<SecretString> text = ReadAll(STDIN_FILENO, kFieldsMax * kFieldBytesMax);
  if (!text.ok()) return text.status();
  nlohmann::json object = nlohmann::json::parse(text->Reveal().begin(), text->Reveal().end(),
                                                nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || object.empty()) {
    return absl::InvalidArgumentError("the standard input is not a JSON object of field: text");
  }
  std::vector<NamedValue> values;
  absl::Status wrong;
  for (auto& [name, value] : object.items()) {
    if (!value.is_string()) {
      wrong = absl::InvalidArgumentError(absl::StrCat("field '", name, "' is not a text"));
      continue;
    }
    auto& field = value.get_ref<std::string&>();
    if (field.size() > kFieldBytesMax) {
      wrong = absl::InvalidArgumentError(
          absl::StrCat("field '", name, "' is longer than the ", kFieldBytesMax, " bytes allowed"));
    }
    values.push_back({name, SecretString::Take(field)});
  }
  if (!wrong.ok()) return wrong;
  return values;
}

Values ReadValues(const Options& options) {
  if (options.from_json) return ReadJsonFields();
  std::vector<std::string> names = options.fields;
  if (names.empty()) names.emplace_back();
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (!terminal && names.size() > 1) {
    return absl::InvalidArgumentError(
        "several fields cannot come from one standard input: give "
        "them as a JSON object with --json");
  }
  std::vector<NamedValue> values;
  for (const std::string& name : names) {
    absl::StatusOr<SecretString> value =
        terminal ? AskHidden(absl::StrCat(name.empty() ? "value" : name, " of ", options.name,
                                          " (not shown): "))
                 : ReadValue(STDIN_FILENO);
    if (!value.ok()) return value.status();
    if (value->empty()) return absl::InvalidArgumentError("the value is empty");
    values.push_back({name, *std::move(value)});
  }
  return values;
}

absl::StatusOr<v1::PutResponse> Send(const Options& options, const std::vector<NamedValue>& values,
                                     client::AdminClient& admin, absl::Duration timeout) {
  v1::PutRequest request;
  request.set_name(options.name);
  request.set_provider_key_id(options.key_id);
  if (options.expires_in > absl::ZeroDuration()) {
    client::SetTime(absl::Now() + options.expires_in, *request.mutable_expires_at());
  }
  for (const NamedValue& value : values) {
    v1::Field& field = *request.add_fields();
    field.set_name(value.name);
    const absl::string_view bytes = value.value.Reveal();
    field.set_value(bytes.data(), bytes.size());
    field.set_secret(true);
  }
  const Progress progress("storing");
  absl::StatusOr<v1::PutResponse> response = admin.Put(request, timeout);
  for (v1::Field& field : *request.mutable_fields()) WipeString(*field.mutable_value());
  return response;
}

void Run(const Options& options, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot put '", options.name, "'"),
                                .name = options.name};
  for (const std::string& field : options.fields) {
    if (field.find('=') != std::string::npos) {
      // What stands behind the sign is probably a secret: it is not repeated.
      return session.FailUsage(
          "put: --field takes a name only; a value in an argument would be "
          "visible to other processes",
          absl::StrCat("keyturn put ", options.name, " --field ", field.substr(0, field.find('=')),
                       " < FILE"));
    }
  }
  Values values = ReadValues(options);
  if (absl::IsCancelled(values.status())) return session.set_exit_code(kExitInterrupted);
  if (!values.ok()) {
    return session.FailUsage(absl::StrCat("put: ", values.status().message()),
                             "keyturn put --help shows how to give a value");
  }
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  const auto response = Send(options, *values, **admin, session.options.timeout);
  if (!response.ok()) return session.Fail(context, response.status());
  session.Print(session.json()
                    ? absl::StrCat(ToJson(*response).dump(2), "\n")
                    : absl::StrCat(options.name, ": version ", response->version(), " stored\n"));
}

}  // namespace

void AddPutCommand(CLI::App& program, Session& session) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("put", "Store a value, from the standard input or a hidden prompt");
  command->add_option("name", options->name, "The credential's name")
      ->required()
      ->type_name("NAME");
  CLI::Option* field =
      command
          ->add_option("--field", options->fields, "The field to store; may be repeated when typed")
          ->type_name("FIELD")
          ->expected(1)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--json", options->from_json, "Read a JSON object of fields and their texts")
      ->excludes(field);
  command->add_option("--key-id", options->key_id, "The provider's id of this key: to revoke it")
      ->type_name("ID");
  AddDurationOption(*command, "--expires-in", options->expires_in, "How long the value is valid");
  command->footer(
      "One line break at the end of the input is not part of the value. At most 64 KiB a field.\n"
      "\n"
      "Examples:\n"
      "  keyturn put crm/client-secret                    asks, and shows nothing\n"
      "  keyturn put crm/client-secret < secret.txt\n"
      "  keyturn put dify/admin --field password\n"
      "  keyturn put support-bot/dify --key-id 3f1c --expires-in 30d < key.txt\n"
      "  keyturn put aws/uploader --json < fields.json");
  command->callback([options, &session] { Run(*options, session); });
}

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// `keyturn presets`: the OAuth services that the agent knows, and what it knows about one.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

void RunList(Session& session) {
  const ErrorContext context = {.what = "cannot list the presets", .name = ""};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  const auto response = (*admin)->ListPresets(session.options.timeout);
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  Table table({"PRESET", "GRANTS", "PARAMS", "FACTS", "TITLE"});
  for (const v1::PresetSummary& preset : response->presets()) {
    table.Add({preset.name(), absl::StrJoin(preset.grants(), ","),
               absl::StrJoin(preset.params(), ","), preset.uncertain() ? "uncertain" : "seen",
               preset.title()});
  }
  session.Print(table.Render(session.bold()));
}

void RunShow(const v1::ShowPresetRequest& request, Session& session) {
  const ErrorContext context = {
      .what = absl::StrCat("cannot show the preset '", request.name(), "'"), .name = ""};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  const auto response = (*admin)->ShowPreset(request, session.options.timeout);
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  session.Print(response->yaml());
}

}  // namespace

void AddPresetsCommand(CLI::App& program, Session& session) {
  CLI::App* presets = program.add_subcommand("presets", "List and show presets of OAuth services");
  presets->require_subcommand(1);
  CLI::App* list = presets->add_subcommand("list", "List the services that the agent knows");
  list->callback([&session] { RunList(session); });
  auto request = std::make_shared<v1::ShowPresetRequest>();
  CLI::App* show = presets->add_subcommand("show", "Print a preset as it stands on the disk");
  show->add_option_function<std::string>(
          "name", [request](const std::string& name) { request->set_name(name); },
          "The preset's name")
      ->required()
      ->type_name("NAME");
  show->callback([request, &session] { RunShow(*request, session); });
  presets->footer(
      "Examples:\n"
      "  keyturn presets list\n"
      "  keyturn presets show keycloak");
}

}  // namespace keyturn::cli

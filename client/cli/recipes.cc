// SPDX-License-Identifier: Apache-2.0
// `keyturn recipes`: which recipes the agent knows, what one says, and whether one fits a service.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/table.h"

namespace keyturn::cli {
namespace {

void RunList(Session& session) {
  const ErrorContext context = {.what = "cannot list the recipes", .name = ""};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  const auto response = (*admin)->ListRecipes(session.options.timeout);
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  Table table({"RECIPE", "CLASS", "FACTS", "TITLE"});
  for (const v1::RecipeSummary& recipe : response->recipes()) {
    table.Add({recipe.name(), recipe.provider_class(), recipe.uncertain() ? "uncertain" : "seen",
               recipe.title()});
  }
  session.Print(table.Render(session.bold()));
}

void RunShow(const v1::ShowRecipeRequest& request, Session& session) {
  const ErrorContext context = {
      .what = absl::StrCat("cannot show the recipe '", request.name(), "'"), .name = ""};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  const auto response = (*admin)->ShowRecipe(request, session.options.timeout);
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  session.Print(response->yaml());
}

void RunTest(const v1::TestRecipeRequest& request, Session& session) {
  const ErrorContext context = {
      .what = absl::StrCat("cannot test the recipe '", request.recipe(), "'"), .name = ""};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  absl::StatusOr<v1::TestRecipeResponse> response;
  {
    const Progress progress("asking the service");
    response = (*admin)->TestRecipe(request, session.options.timeout);
  }
  if (!response.ok()) return session.Fail(context, response.status());
  if (session.json()) return session.Print(absl::StrCat(ToJson(*response).dump(2), "\n"));
  Table table({"CALL", "OUTCOME", "CAUSE", "DETAIL"});
  for (const v1::RecipeCheck& check : response->checks()) {
    table.Add({check.call(), check.outcome(), check.cause(), check.detail()});
  }
  session.Print(table.Render(session.bold()));
}

void AddTest(CLI::App& recipes, Session& session) {
  struct Options {
    v1::TestRecipeRequest request;
    std::vector<std::string> params;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      recipes.add_subcommand("test", "Try a recipe at a service, changing nothing there");
  const auto text = [&](const std::string& name, const std::string& about, const char* type,
                        void (*set)(v1::TestRecipeRequest&, const std::string&)) {
    return command
        ->add_option_function<std::string>(
            name, [options, set](const std::string& value) { set(options->request, value); }, about)
        ->type_name(type);
  };
  text("name", "The recipe's name", "NAME", [](auto& r, const auto& v) {
    r.set_recipe(v);
  })->required();
  text("--endpoint", "Base URL of the service", "URL", [](auto& r, const auto& v) {
    r.set_endpoint(v);
  })->required();
  text("--manager", "The credential the admin API is called with", "NAME",
       [](auto& r, const auto& v) { r.set_manager(v); });
  text("--credential", "A credential whose current value is tried as a key", "NAME",
       [](auto& r, const auto& v) { r.set_credential(v); });
  command->add_option("--param", options->params, "A parameter of the recipe; may be repeated")
      ->type_name("NAME=VALUE");
  command->footer(
      "Only list and verify are called, and where the list needs {manager_token}, the request for\n"
      "that token. The values of the two credentials go to the service.\n\n"
      "Examples:\n"
      "  keyturn recipes test dify-app-key --endpoint https://dify.example.com \\\n"
      "      --manager dify/admin --param app_id=3f1c --param workspace_id=77ab\n"
      "  keyturn recipes test npm-token --endpoint https://npm.example.com \\\n"
      "      --manager npm/user --credential ci/npm");
  command->callback([options, &session] {
    for (const std::string& param : options->params) {
      const size_t equals = param.find('=');
      if (equals == std::string::npos || equals == 0) {
        return session.FailUsage(absl::StrCat("--param ", param, " is not NAME=VALUE"),
                                 "keyturn recipes test --help shows how");
      }
      (*options->request.mutable_params())[param.substr(0, equals)] = param.substr(equals + 1);
    }
    RunTest(options->request, session);
  });
}

}  // namespace

void AddRecipesCommand(CLI::App& program, Session& session) {
  CLI::App* recipes = program.add_subcommand("recipes", "List, show and try recipes");
  recipes->require_subcommand(1);
  CLI::App* list = recipes->add_subcommand("list", "List the recipes that the agent knows");
  list->callback([&session] { RunList(session); });
  auto request = std::make_shared<v1::ShowRecipeRequest>();
  CLI::App* show = recipes->add_subcommand("show", "Print a recipe as it stands on the disk");
  show->add_option_function<std::string>(
          "name", [request](const std::string& name) { request->set_name(name); },
          "The recipe's name")
      ->required()
      ->type_name("NAME");
  show->callback([request, &session] { RunShow(*request, session); });
  AddTest(*recipes, session);
  recipes->footer(
      "Examples:\n"
      "  keyturn recipes list\n"
      "  keyturn recipes show dify-app-key");
}

}  // namespace keyturn::cli

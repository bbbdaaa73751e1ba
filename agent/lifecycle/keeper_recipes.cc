// SPDX-License-Identifier: Apache-2.0
// What the admin API asks about recipes: which there are, what one says, and whether it fits a
// service. Trying one makes only the calls that change nothing.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {
namespace {

using providers::CallResult;
using providers::Outcome;
using providers::Provider;

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kRejected:
      return "rejected";
    case Outcome::kLimited:
      return "limited";
    case Outcome::kTransient:
      return "transient";
    case Outcome::kUnknown:
      return "unknown";
  }
  return "";
}

// What a person is told about a call that did not go well.
std::string Explain(const CallResult& result, const char* rejected) {
  if (result.cause == "bad_request_value") {
    return "the request could not be built: a value is missing or cannot stand where the recipe "
           "puts it; has the credential all the fields that the recipe names?";
  }
  if (result.cause == "manager_token_refused") {
    return "the service gave no token for the manager credential";
  }
  if (result.cause == "unreadable_reply") {
    return "the service answered, but not as the recipe expects: another version, or another "
           "endpoint?";
  }
  if (result.outcome == Outcome::kRejected) return rejected;
  if (result.http_status == 0) return "the service gave no answer";
  return "the service answered with what no rule of the recipe takes for a result";
}

void AddCheck(v1::TestRecipeResponse& response, const char* call, const CallResult& result,
              std::string detail) {
  v1::RecipeCheck& check = *response.add_checks();
  check.set_call(call);
  check.set_outcome(OutcomeName(result.outcome));
  check.set_cause(result.outcome == Outcome::kOk ? "" : result.cause);
  check.set_http_status(result.http_status);
  check.set_detail(std::move(detail));
}

void AddSkipped(v1::TestRecipeResponse& response, const char* call, const char* why) {
  v1::RecipeCheck& check = *response.add_checks();
  check.set_call(call);
  check.set_outcome("skipped");
  check.set_detail(why);
}

// A trial under way; belongs to whichever thread answers, one after the other.
struct Trial {
  std::shared_ptr<Provider> provider;
  base::CredentialValue manager;
  base::CredentialValue key;
  bool has_key = false;
  v1::TestRecipeResponse response;
  Answer<v1::TestRecipeResponse> done;
};

void FinishTrial(const std::shared_ptr<Trial>& trial) {
  AddSkipped(trial->response, "create", "not called: it would change something");
  AddSkipped(trial->response, "revoke", "not called: it would change something");
  trial->done(std::move(trial->response));
}

void TryVerify(const std::shared_ptr<Trial>& trial) {
  const bool can = trial->provider->traits().can_verify;
  if (!can || !trial->has_key) {
    AddSkipped(trial->response, "verify",
               can ? "name a credential to try its current value" : "the recipe has none");
    return FinishTrial(trial);
  }
  trial->provider->Verify(trial->key, [trial](const CallResult& result) {
    AddCheck(trial->response, "verify", result,
             result.outcome == Outcome::kOk ? "the key works"
                                            : Explain(result, "the service says the key is dead"));
    FinishTrial(trial);
  });
}

void TryList(const std::shared_ptr<Trial>& trial) {
  const auto& traits = trial->provider->traits();
  // Class manual lists only to find a key by its hint, which is worth trying as well.
  if (!traits.can_list && traits.provider_class != providers::ProviderClass::kManual) {
    AddSkipped(trial->response, "list", "the recipe has none");
    return TryVerify(trial);
  }
  trial->provider->List(trial->manager, [trial](const CallResult& result, const auto& keys) {
    const auto dead =
        std::count_if(keys.begin(), keys.end(), [](const auto& key) { return key.dead; });
    if (result.cause == "not_supported") {
      AddSkipped(trial->response, "list", "the recipe has none");
    } else if (result.outcome == Outcome::kOk) {
      AddCheck(trial->response, "list", result,
               absl::StrCat(keys.size(), " keys listed, ", dead, " of them dead"));
    } else {
      AddCheck(trial->response, "list", result,
               Explain(result, "the service does not let the manager credential list keys"));
    }
    TryVerify(trial);
  });
}

}  // namespace

void Keeper::ListRecipes(Answer<v1::ListRecipesResponse> done) {
  deps_.executor.Post([this, done = std::move(done)]() mutable {
    v1::ListRecipesResponse response;
    for (const providers::RecipeInfo& info : deps_.checks.registry.Recipes()) {
      v1::RecipeSummary& summary = *response.add_recipes();
      summary.set_name(info.name);
      summary.set_title(info.title);
      summary.set_provider_class(providers::ProviderClassName(info.provider_class));
      summary.set_uncertain(!info.uncertain.empty());
    }
    done(std::move(response));
  });
}

void Keeper::ShowRecipe(v1::ShowRecipeRequest request, Answer<v1::ShowRecipeResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    for (const providers::RecipeInfo& info : deps_.checks.registry.Recipes()) {
      if (info.name != request.name()) continue;
      v1::ShowRecipeResponse response;
      response.set_yaml(info.yaml);
      return done(std::move(response));
    }
    done(base::WithReason(
        absl::NotFoundError(absl::StrCat("there is no recipe \"", request.name(), "\"")),
        "NO_SUCH_RECIPE"));
  });
}

void Keeper::TestRecipe(v1::TestRecipeRequest request, Answer<v1::TestRecipeResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    providers::ProviderConfig config;
    config.name = "test";
    config.recipe = request.recipe();
    config.endpoint = request.endpoint();
    config.manager = request.manager();
    config.params.insert(request.params().begin(), request.params().end());
    auto provider = deps_.checks.registry.Make(config);
    if (!provider.ok()) {
      absl::Status status = provider.status();
      for (const auto& [key, field] : base::MetadataOf(status)) {
        if (key != "field") continue;
        status = base::WithReason(
            absl::InvalidArgumentError(absl::StrCat(field, ": ", provider.status().message())),
            "BAD_RESOURCE", {{"field", field}});
      }
      return done(std::move(status));
    }
    auto trial = std::make_shared<Trial>();
    trial->provider = *std::move(provider);
    trial->has_key = !request.credential().empty();
    // Answers come from other threads.
    trial->done =
        [this, done = std::move(done)](absl::StatusOr<v1::TestRecipeResponse> response) mutable {
          deps_.executor.Post([done = std::move(done), response = std::move(response)]() mutable {
            done(std::move(response));
          });
        };
    ValueOf(request.manager(), [this, trial, credential = request.credential()](
                                   absl::StatusOr<base::CredentialValue> manager) {
      if (!manager.ok()) return trial->done(manager.status());
      trial->manager = *std::move(manager);
      ValueOf(credential, [trial](absl::StatusOr<base::CredentialValue> key) {
        if (!key.ok()) return trial->done(key.status());
        trial->key = *std::move(key);
        TryList(trial);
      });
    });
  });
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// Registry over the recipe files of some directories. Files are read once, at the start; what is
// wrong with a provider resource is said when it is made. Immutable after Load, hence thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/net/egress.h"
#include "agent/net/http_client.h"
#include "agent/providers/recipe/recipe.h"
#include "agent/providers/registry.h"

namespace keyturn::providers {

class RecipeRegistry final : public Registry {
 public:
  struct Options {
    // All *.yaml of each are read; a recipe of a later directory replaces one of the same name.
    std::vector<std::string> directories;
    // Decides which endpoints may be plain http.
    net::EgressRules egress;
    absl::Duration timeout = absl::Seconds(30);
    // For the pauses of recipes that repeat a request; outlives every provider made. Null: such
    // requests are not repeated.
    base::Executor* executor = nullptr;
  };

  // The first error of any file, or NOT_FOUND for a directory that is not there. The client and the
  // clock must outlive every provider made.
  static absl::StatusOr<std::unique_ptr<RecipeRegistry>> Load(Options options,
                                                              net::HttpClient& http,
                                                              const base::Clock& clock);

  absl::StatusOr<std::shared_ptr<Provider>> Make(const ProviderConfig& config) const override;
  std::vector<std::string> RecipeNames() const override;
  std::vector<RecipeInfo> Recipes() const override;

 private:
  RecipeRegistry(Options options, net::HttpClient& http, const base::Clock& clock);
  absl::Status LoadDirectory(const std::string& path);
  absl::StatusOr<std::string> CheckEndpoint(const std::string& field,
                                            const std::string& endpoint) const;

  const Options options_;
  net::HttpClient& http_;
  const base::Clock& clock_;
  std::map<std::string, std::shared_ptr<const Recipe>> recipes_;
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// RecipeProvider: a Provider that does what a recipe says. It keeps nothing between calls but the
// token of `manager_token`; each call is one HTTP exchange, or one per page of a list and per
// request of `then`. Thread-safe. Calls under way keep what they need alive, so the provider may be
// dropped meanwhile.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/net/http_client.h"
#include "agent/providers/provider.h"
#include "agent/providers/recipe/recipe.h"

namespace keyturn::providers {

class RecipeProvider final : public Provider {
 public:
  struct Setup {
    std::shared_ptr<const Recipe> recipe;
    std::string endpoint;                       // without a trailing slash
    std::map<std::string, std::string> params;  // defaults filled in, URLs without a trailing slash
    Traits traits;
    absl::Duration timeout = absl::Seconds(30);
    // For the pauses of `repeat`. Null: a request that would be repeated fails instead.
    base::Executor* executor = nullptr;
  };

  // The client, the clock and the executor must outlive every call.
  RecipeProvider(Setup setup, net::HttpClient& http, const base::Clock& clock);

  const Traits& traits() const override;
  void Create(const base::CredentialValue& manager, const NewKey& key, CreateDone done) override;
  void List(const base::CredentialValue& manager, ListDone done) override;
  void Verify(const base::CredentialValue& key, Done done) override;
  void Revoke(const base::CredentialValue& manager, const std::string& key_id,
              const base::CredentialValue& value, Done done) override;

 private:
  struct Shared;
  std::shared_ptr<const Shared> shared_;
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
//
// Every field is optional and has the default of the struct it lands in; an unknown field, a
// wrong type or an impossible value is an error. Pure functions.
#include "tests/sandbox/options.h"

#include <set>
#include <utility>

#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

#include "tests/sandbox/strict_object.h"

namespace keyturn::sandbox {
namespace {

using nlohmann::json;

absl::Status ReadDify(const json& document, DifyOptions* options) {
  StrictObject fields(document, "dify");
  fields.Read("admin_key", &options->admin_key);
  if (options->admin_key.empty()) fields.Fail("admin_key", "must not be empty");
  fields.Read("workspace_id", &options->workspace_id);
  auto max_keys = static_cast<int64_t>(options->max_keys_per_app);
  fields.Read("max_keys_per_app", 1, 1000, &max_keys);
  options->max_keys_per_app = static_cast<size_t>(max_keys);
  fields.Read("delete_lag", absl::ZeroDuration(), &options->delete_lag);
  fields.Read("propagation_delay", absl::ZeroDuration(), &options->propagation_delay);
  return fields.Finish();
}

absl::Status ReadClients(const json& document, std::vector<OauthClient>* clients) {
  if (!document.is_array() || document.empty()) {
    return absl::InvalidArgumentError("oauth.clients must be a list with at least one client");
  }
  clients->clear();
  std::set<std::string> ids;
  for (const json& item : document) {
    StrictObject fields(item, absl::StrCat("oauth.clients[", clients->size(), "]"));
    OauthClient client;
    for (const char* name : {"id", "secret"}) fields.Require(name);
    fields.Read("id", &client.id);
    fields.Read("secret", &client.secret);
    fields.Read("scopes", &client.scopes);
    if (client.id.empty()) fields.Fail("id", "must not be empty");
    if (client.secret.empty()) fields.Fail("secret", "must not be empty");
    if (!ids.insert(client.id).second) fields.Fail("id", "is another client's id already");
    if (absl::Status status = fields.Finish(); !status.ok()) return status;
    clients->push_back(std::move(client));
  }
  return absl::OkStatus();
}

absl::Status ReadOauth(const json& document, OauthOptions* options) {
  StrictObject fields(document, "oauth");
  fields.Read("access_token_ttl", absl::Seconds(1), &options->access_token_ttl);
  fields.Read("rotate_refresh_tokens", &options->rotate_refresh_tokens);
  fields.Read("reuse_leeway", absl::ZeroDuration(), &options->reuse_leeway);
  if (const json* clients = fields.Take("clients"); clients != nullptr) {
    if (absl::Status status = ReadClients(*clients, &options->clients); !status.ok()) {
      return status;
    }
  }
  return fields.Finish();
}

}  // namespace

absl::StatusOr<SandboxOptions> ParseOptions(const std::string& json_text) {
  const json document = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return absl::InvalidArgumentError("not a JSON document");
  StrictObject fields(document, "");
  SandboxOptions options;
  if (const json* dify = fields.Take("dify"); dify != nullptr) {
    if (absl::Status status = ReadDify(*dify, &options.dify); !status.ok()) return status;
  }
  if (const json* oauth = fields.Take("oauth"); oauth != nullptr) {
    if (absl::Status status = ReadOauth(*oauth, &options.oauth); !status.ok()) return status;
  }
  if (const json* faults = fields.Take("faults"); faults != nullptr) {
    absl::StatusOr<std::vector<FaultRule>> rules = ParseFaultRules(*faults);
    if (!rules.ok()) return rules.status();
    options.faults = *std::move(rules);
  }
  if (absl::Status status = fields.Finish(); !status.ok()) return status;
  return options;
}

absl::StatusOr<absl::Duration> ParseAccessTokenTtl(const std::string& text) {
  absl::Duration ttl;
  if (!absl::ParseDuration(text, &ttl) || ttl < absl::Seconds(1) ||
      ttl == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        "the access token lifetime must be a duration such as 10s, at least 1s");
  }
  return ttl;
}

}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
//
// Replies have the shapes that Dify's console was seen to answer with, among them the two that
// surprise a client: the list carries the full keys, and a deleted key may go on working.
// Deleted keys are kept only as long as they are still accepted. Not thread-safe.
#include "tests/sandbox/dify.h"

#include <algorithm>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

using nlohmann::json;

// Any app id exists, so the number of them must end somewhere.
constexpr size_t kMaxApps = 4096;

Reply Unauthorized() { return DifyError(401, "unauthorized", "Access token is invalid"); }

}  // namespace

DifyConsole::DifyConsole(DifyOptions options, TokenSource* tokens)
    : options_(std::move(options)), tokens_(tokens) {}

bool DifyConsole::Authorized(const Request& request) const {
  // A console session in a cookie is looked at before the header, and no session exists here.
  if (absl::StrContains(request.Header("cookie"), "access_token=")) return false;
  const absl::string_view workspace = request.Header("x-workspace-id");
  if (workspace.empty()) return false;
  if (!options_.workspace_id.empty() && workspace != options_.workspace_id) return false;
  return AuthorizationOf(request, "Bearer") == options_.admin_key;
}

json DifyConsole::Item(const Key& key) const {
  return {{"id", key.id},
          {"type", "app"},
          {"token", key.token},
          {"last_used_at", key.last_used == absl::InfinitePast()
                               ? json(nullptr)
                               : json(absl::ToUnixSeconds(key.last_used))},
          {"created_at", absl::ToUnixSeconds(key.created)}};
}

Reply DifyConsole::List(const Request& request, const std::string& app_id) {
  if (!Authorized(request)) return Unauthorized();
  json items = json::array();
  const auto app = apps_.find(app_id);
  if (app != apps_.end()) {
    for (const Key& key : app->second) {
      if (key.deleted == absl::InfiniteFuture()) items.push_back(Item(key));
    }
  }
  return JsonReply(200, {{"data", std::move(items)}});
}

Reply DifyConsole::Create(const Request& request, const std::string& app_id, absl::Time now) {
  if (!Authorized(request)) return Unauthorized();
  ForgetDeadKeys(now);
  if (apps_.size() >= kMaxApps && apps_.count(app_id) == 0) {
    return DifyError(400, "too_many_apps", "The sandbox keeps no more apps.");
  }
  std::vector<Key>& keys = apps_[app_id];
  const auto live = std::count_if(keys.begin(), keys.end(), [](const Key& key) {
    return key.deleted == absl::InfiniteFuture();
  });
  if (static_cast<size_t>(live) >= options_.max_keys_per_app) {
    return DifyError(400, "max_keys_exceeded",
                     absl::StrCat("Cannot create more than ", options_.max_keys_per_app,
                                  " API keys for this resource type."));
  }
  Key key{.id = tokens_->Uuid(), .token = tokens_->AppKey(), .created = now};
  keys.push_back(key);
  return JsonReply(201, Item(key));
}

Reply DifyConsole::Delete(const Request& request, const std::string& app_id,
                          absl::string_view key_id, absl::Time now) {
  if (!Authorized(request)) return Unauthorized();
  const auto app = apps_.find(app_id);
  if (app != apps_.end()) {
    for (Key& key : app->second) {
      if (key.id != key_id || key.deleted != absl::InfiniteFuture()) continue;
      key.deleted = now;
      ForgetDeadKeys(now);
      return {.status = 204, .content_type = "", .headers = {}, .body = ""};
    }
  }
  return DifyError(404, "not_found", "API key not found");
}

bool DifyConsole::AcceptsKey(const Key& key, absl::Time now) const {
  if (now < key.created + options_.propagation_delay) return false;
  // A key that was never deleted has an infinite time here, and stays infinite.
  return now < key.deleted + options_.delete_lag;
}

Reply DifyConsole::Info(const Request& request, absl::Time now) {
  const std::optional<std::string> token = AuthorizationOf(request, "Bearer");
  if (!token.has_value()) {
    return DifyError(401, "unauthorized",
                     "Authorization header must be provided and start with 'Bearer'");
  }
  for (auto& [app_id, keys] : apps_) {
    for (Key& key : keys) {
      if (key.token != *token || !AcceptsKey(key, now)) continue;
      key.last_used = now;
      return JsonReply(200, {{"name", app_id},
                             {"description", ""},
                             {"tags", json::array()},
                             {"mode", "chat"},
                             {"author_name", "sandbox"}});
    }
  }
  return Unauthorized();
}

bool DifyConsole::Accepts(absl::string_view token, absl::Time now) const {
  for (const auto& [app_id, keys] : apps_) {
    for (const Key& key : keys) {
      if (key.token == token) return AcceptsKey(key, now);
    }
  }
  return false;
}

json DifyConsole::Snapshot() const {
  json apps = json::object();
  for (const auto& [app_id, keys] : apps_) {
    json items = json::array();
    for (const Key& key : keys) {
      if (key.deleted != absl::InfiniteFuture()) continue;
      items.push_back(
          {{"id", key.id}, {"token", key.token}, {"created_at", absl::ToUnixSeconds(key.created)}});
    }
    apps[app_id] = std::move(items);
  }
  return apps;
}

void DifyConsole::Reset() { apps_.clear(); }

void DifyConsole::ForgetDeadKeys(absl::Time now) {
  for (auto app = apps_.begin(); app != apps_.end();) {
    std::vector<Key>& keys = app->second;
    std::erase_if(keys, [&](const Key& key) {
      return key.deleted != absl::InfiniteFuture() && now >= key.deleted + options_.delete_lag;
    });
    app = keys.empty() ? apps_.erase(app) : std::next(app);
  }
}

}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
//
// The part of Dify that keeps app keys: list, create and delete at the console API, and the call
// an app key is verified with. Pure state: every entry point takes the present time and answers
// with a whole reply. Any app id exists; each has its own keys. Not thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include <absl/strings/string_view.h>
#include <absl/time/time.h>

#include <nlohmann/json_fwd.hpp>

#include "tests/sandbox/request.h"
#include "tests/sandbox/tokens.h"

namespace keyturn::sandbox {

struct DifyOptions {
  std::string admin_key = "sandbox-admin-key";
  // Empty accepts every workspace; the header itself is always required.
  std::string workspace_id;
  size_t max_keys_per_app = 10;
  // How long a deleted key is still accepted by /v1/info, as Dify's own cache makes it.
  absl::Duration delete_lag;
  // How long a new key is not yet accepted by /v1/info.
  absl::Duration propagation_delay;
};

class DifyConsole {
 public:
  // `tokens` must outlive this object.
  DifyConsole(DifyOptions options, TokenSource* tokens);

  Reply List(const Request& request, const std::string& app_id);
  Reply Create(const Request& request, const std::string& app_id, absl::Time now);
  Reply Delete(const Request& request, const std::string& app_id, absl::string_view key_id,
               absl::Time now);
  // GET /v1/info with an app key.
  Reply Info(const Request& request, absl::Time now);

  // Whether /v1/info would accept this key now. Leaves no trace in the key's last use.
  bool Accepts(absl::string_view token, absl::Time now) const;

  // {app_id: [{id, token, created_at}]}: the keys that the console would list.
  nlohmann::json Snapshot() const;
  void Reset();

 private:
  struct Key {
    std::string id;
    std::string token;
    absl::Time created;
    absl::Time last_used = absl::InfinitePast();
    absl::Time deleted = absl::InfiniteFuture();
  };

  bool Authorized(const Request& request) const;
  bool AcceptsKey(const Key& key, absl::Time now) const;
  nlohmann::json Item(const Key& key) const;
  // Drops deleted keys that nothing accepts any more, and then the apps left empty.
  void ForgetDeadKeys(absl::Time now);

  const DifyOptions options_;
  TokenSource* const tokens_;
  std::map<std::string, std::vector<Key>> apps_;
};

}  // namespace keyturn::sandbox

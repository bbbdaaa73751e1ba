// SPDX-License-Identifier: Apache-2.0
// The bootstrap configuration, checked: what the process needs to start. Nobody else reads
// keyturnd.yaml. A mistake is InvalidArgument that opens with FILE:LINE:COLUMN.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/strict_yaml.h"
#include "agent/observe/log.h"

namespace keyturn {

// A program that the agent starts and asks as a provider.
struct PluginConfig {
  std::string name;
  std::vector<std::string> command;
  std::string sha256;  // lower-case
  std::optional<uid_t> uid;
  gid_t gid = 0;  // with uid
  absl::Duration timeout = absl::Seconds(30);
};

struct Config {
  std::string services_socket = "/run/keyturn/keyturn.sock";
  std::string admin_socket = "/run/keyturn/admin.sock";
  mode_t services_mode = 0666;
  std::string store_path = "/var/lib/keyturn/store.db";
  // Beside the store unless set.
  std::string anchor_path;
  std::string keyfile = "/etc/keyturn/kek";
  // Make the keyfile at the very first start.
  bool create_keyfile = false;
  observe::Level log_level = observe::Level::kInfo;
  uint32_t connections = 4096;
  uint32_t connections_per_uid = 1024;
  absl::Duration drain = absl::Seconds(10);
  std::vector<std::string> allow_private;
  std::vector<std::string> allow_http;
  std::string ca_file;
  absl::Duration http_timeout = absl::Seconds(30);
  std::vector<std::string> recipe_dirs;
  std::vector<std::string> preset_dirs;
  std::string agent_name;
  std::vector<PluginConfig> plugins;
  // Where each key stood, for checks that need other rooms (CheckConfig in agent.h).
  base::SourceMap where;
  // The user who runs the agent may read everything through the services socket too.
  bool dev = false;
};

absl::StatusOr<Config> LoadConfig(const std::string& path);
absl::StatusOr<Config> ParseConfig(absl::string_view yaml, absl::string_view file_name);

// For `keyturnd --dev`: everything in one private directory, made if need be; providers on this
// machine may be called, also by plain http.
absl::StatusOr<Config> DevConfig();

// The recipes and presets of the installation or build tree that this program belongs to.
std::string DefaultRecipeDir();
std::string DefaultPresetDir();

}  // namespace keyturn

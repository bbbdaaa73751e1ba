// SPDX-License-Identifier: Apache-2.0
#include "agent/config.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/base/duration_text.h"
#include "agent/base/file_io.h"
#include "agent/base/strict_yaml.h"
#include "keyturn/internal/v1/config.pb.h"

namespace keyturn {
namespace {

// What was installed with this program, or lies beside it in its build tree.
std::string SharedDir(const std::string& what, const char* installed) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const std::filesystem::path beside = self.parent_path().parent_path() / "share/keyturn" / what;
    if (std::filesystem::is_directory(beside, error)) return beside.string();
  }
  return installed;
}

using base::ToDuration;

constexpr size_t kConfigMax = 256 * 1024;

void Take(const std::string& from, std::string& into) {
  if (!from.empty()) into = from;
}

absl::Status TakeSockets(const internal::v1::Config& read, const base::SourceMap& where,
                         Config& config) {
  Take(read.sockets().services(), config.services_socket);
  Take(read.sockets().admin(), config.admin_socket);
  for (const auto& [key, path] :
       {std::pair("services", &config.services_socket), std::pair("admin", &config.admin_socket)}) {
    if (path->front() != '/') return where.Error({"sockets", key}, "must be an absolute path");
  }
  if (config.services_socket == config.admin_socket) {
    return where.Error({"sockets"}, "the services and the admin socket must be two paths");
  }
  if (const std::string& mode = read.sockets().services_mode(); !mode.empty()) {
    char* end = nullptr;
    const unsigned long bits = std::strtoul(mode.c_str(), &end, 8);
    if (*end != '\0' || bits > 0777) {
      return where.Error({"sockets", "services_mode"}, "must be an octal mode such as \"0660\"");
    }
    config.services_mode = static_cast<mode_t>(bits);
  }
  return absl::OkStatus();
}

absl::Status TakeLimits(const internal::v1::Config& read, const base::SourceMap& where,
                        Config& config) {
  if (const std::string& level = read.logging().level();
      !level.empty() && !observe::ParseLevel(level, config.log_level)) {
    return where.Error({"logging", "level"}, "must be debug, info, warning or error");
  }
  const auto& limits = read.limits();
  if (limits.connections() != 0) config.connections = limits.connections();
  if (limits.connections_per_uid() != 0) config.connections_per_uid = limits.connections_per_uid();
  if (config.connections_per_uid > config.connections) {
    config.connections_per_uid = config.connections;
  }
  if (limits.has_drain()) config.drain = ToDuration(limits.drain());
  if (read.egress().has_timeout()) config.http_timeout = ToDuration(read.egress().timeout());
  if (config.http_timeout < absl::Seconds(1) || config.http_timeout > absl::Minutes(5)) {
    return where.Error({"egress", "timeout"}, "must be from 1s to 5m");
  }
  return absl::OkStatus();
}

absl::Status TakeAgentName(const internal::v1::Config& read, const base::SourceMap& where,
                           Config& config) {
  config.agent_name = read.agent_name();
  for (const char c : config.agent_name) {
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) {
      return where.Error({"agent_name"}, "may hold a-z and 0-9 only");
    }
  }
  if (config.agent_name.size() > 16) {
    return where.Error({"agent_name"}, "may have 16 characters at most");
  }
  return absl::OkStatus();
}

absl::Status FindUser(const std::string& name, PluginConfig& plugin) {
  std::vector<char> buffer(size_t{64} << 10);
  passwd entry{};
  passwd* found = nullptr;
  if (getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return absl::NotFoundError("there is no such user on this host");
  }
  plugin.uid = found->pw_uid;
  plugin.gid = found->pw_gid;
  return absl::OkStatus();
}

absl::Status TakePlugin(const internal::v1::Config::Plugin& read, const base::SourceMap& where,
                        PluginConfig& plugin) {
  const auto wrong = [&](const char* key, absl::string_view message) {
    return where.Error({"plugins", plugin.name, key}, message);
  };
  plugin.command.assign(read.command().begin(), read.command().end());
  if (plugin.command.empty() || plugin.command[0].empty() || plugin.command[0][0] != '/') {
    return wrong("command", "must be a list that begins with the absolute path of a program");
  }
  plugin.sha256 = absl::AsciiStrToLower(read.sha256());
  if (plugin.sha256.size() != 64 ||
      plugin.sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return wrong("sha256", absl::StrCat("must be the 64 hexadecimal digits that `sha256sum ",
                                        plugin.command[0], "` prints"));
  }
  if (!read.user().empty()) {
    if (absl::Status s = FindUser(read.user(), plugin); !s.ok()) return wrong("user", s.message());
  }
  if (read.has_timeout()) plugin.timeout = ToDuration(read.timeout());
  if (plugin.timeout < absl::Seconds(1) || plugin.timeout > absl::Minutes(5)) {
    return wrong("timeout", "must be from 1s to 5m");
  }
  return absl::OkStatus();
}

absl::Status TakePlugins(const internal::v1::Config& read, const base::SourceMap& where,
                         Config& config) {
  for (const auto& [name, spec] : read.plugins()) {
    PluginConfig plugin;
    plugin.name = name;
    // It becomes the name of a directory and a word in the log.
    const bool plain =
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
    if (name.empty() || name.size() > 64 || !plain) {
      return where.Error({"plugins", name}, "a name is 1 to 64 characters of a-z, 0-9 and -");
    }
    if (absl::Status s = TakePlugin(spec, where, plugin); !s.ok()) return s;
    config.plugins.push_back(std::move(plugin));
  }
  std::sort(config.plugins.begin(), config.plugins.end(),
            [](const PluginConfig& a, const PluginConfig& b) { return a.name < b.name; });
  return absl::OkStatus();
}

std::string DevDirectory() {
  // $XDG_RUNTIME_DIR is private to the user and gone after the last logout.
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");  // NOLINT(concurrency-mt-unsafe): at start
  if (runtime != nullptr && *runtime == '/') return absl::StrCat(runtime, "/keyturn-dev");
  return absl::StrCat("/tmp/keyturn-dev-", geteuid());
}

}  // namespace

absl::StatusOr<Config> ParseConfig(absl::string_view yaml, absl::string_view file_name) {
  internal::v1::Config read;
  base::SourceMap where;
  if (absl::Status s = base::ParseYaml(yaml, file_name, &read, &where); !s.ok()) return s;
  Config config;
  for (auto* take : {TakeSockets, TakeLimits, TakeAgentName, TakePlugins}) {
    if (absl::Status s = take(read, where, config); !s.ok()) return s;
  }
  Take(read.store().path(), config.store_path);
  if (config.store_path.front() != '/') {
    return where.Error({"store", "path"}, "must be an absolute path");
  }
  config.anchor_path = config.store_path + ".anchor";
  Take(read.store().anchor(), config.anchor_path);
  if (config.anchor_path.front() != '/') {
    return where.Error({"store", "anchor"}, "must be an absolute path");
  }
  Take(read.kek().keyfile(), config.keyfile);
  if (config.keyfile.front() != '/') {
    return where.Error({"kek", "keyfile"}, "must be an absolute path");
  }
  config.create_keyfile = read.kek().create();
  config.allow_private.assign(read.egress().allow_private().begin(),
                              read.egress().allow_private().end());
  config.allow_http.assign(read.egress().allow_http().begin(), read.egress().allow_http().end());
  config.ca_file = read.egress().ca_file();
  config.where = std::move(where);
  config.recipe_dirs.push_back(DefaultRecipeDir());
  for (const std::string& dir : read.recipes()) config.recipe_dirs.push_back(dir);
  config.preset_dirs.push_back(DefaultPresetDir());
  for (const std::string& dir : read.presets()) config.preset_dirs.push_back(dir);
  return config;
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  const auto text = base::ReadFile(path, kConfigMax);
  if (!text.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        text.status().message(), "; to try Keyturn without a configuration, run: keyturnd --dev"));
  }
  return ParseConfig(*text, path);
}

absl::StatusOr<Config> DevConfig() {
  const std::string directory = DevDirectory();
  if (absl::Status s = base::MakeDirectory(directory, 0700); !s.ok()) return s;
  if (absl::Status s = base::CheckPrivate(directory, 0077); !s.ok()) return s;
  Config config;
  config.services_socket = directory + "/keyturn.sock";
  config.admin_socket = directory + "/admin.sock";
  config.store_path = directory + "/store.db";
  config.anchor_path = config.store_path + ".anchor";
  config.keyfile = directory + "/kek";
  config.create_keyfile = true;
  config.allow_private = {"127.0.0.0/8", "::1"};
  config.allow_http = {"127.0.0.1", "localhost", "[::1]"};
  config.recipe_dirs = {DefaultRecipeDir()};
  config.preset_dirs = {DefaultPresetDir()};
  config.dev = true;
  return config;
}

std::string DefaultRecipeDir() { return SharedDir("recipes", KEYTURN_RECIPES_DIR); }
std::string DefaultPresetDir() { return SharedDir("presets", KEYTURN_PRESETS_DIR); }

}  // namespace keyturn

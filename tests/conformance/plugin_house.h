// SPDX-License-Identifier: Apache-2.0
// A plugin host with one plugin, which is tests/conformance/fake_plugin.cc unless a test says
// otherwise, and a log that can be waited on.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/check.h"
#include "agent/base/clock.h"
#include "agent/base/random.h"
#include "agent/base/sha256.h"
#include "agent/observe/failures.h"
#include "agent/providers/plugin/plugin_host.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::conformance {

inline std::string FakePluginPath() { return absl::StrCat(KEYTURN_BIN_DIR, "/fake_plugin"); }

inline std::string Sha256Of(const std::string& path) {
  std::stringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  base::Sha256 digest;
  digest.Update(content.str());
  return digest.HexDigest();
}

class WaitingLog final : public observe::Log {
 public:
  void Write(observe::Level level, absl::string_view event,
             const observe::LogFields& fields) override {
    std::string line = observe::FormatLine(absl::UnixEpoch(), level, event, fields);
    absl::MutexLock lock(&mu_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> lines() const {
    absl::MutexLock lock(&mu_);
    return lines_;
  }
  int Count(const std::vector<std::string>& texts) const {
    absl::MutexLock lock(&mu_);
    return CountLocked(texts);
  }
  // Whether that many lines with all of these texts have come, in generous time.
  bool WaitFor(const std::vector<std::string>& texts, int count = 1) {
    const auto there = [&] { return CountLocked(texts) >= count; };
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(60));
  }

 private:
  int CountLocked(const std::vector<std::string>& texts) const {
    int count = 0;
    for (const std::string& line : lines_) {
      bool all = true;
      for (const std::string& text : texts) all = all && absl::StrContains(line, text);
      count += all ? 1 : 0;
    }
    return count;
  }
  mutable absl::Mutex mu_;
  std::vector<std::string> lines_;
};

class PluginHouse {
 public:
  struct Options {
    std::string mode = "normal";
    absl::Duration timeout = absl::Seconds(20);
    absl::Duration start_timeout = absl::Seconds(40);
    std::optional<providers::PluginSpec> spec = std::nullopt;
  };

  explicit PluginHouse(Options options) : options_(std::move(options)) {}
  PluginHouse() : PluginHouse(Options()) {}

  providers::PluginSpec FakeSpec() {
    providers::PluginSpec spec;
    spec.name = "fake";
    spec.command = {FakePluginPath(), "--mode", options_.mode, "--control", ControlPath()};
    static const std::string* const sha256 = new std::string(Sha256Of(FakePluginPath()));
    spec.sha256 = *sha256;
    spec.timeout = options_.timeout;
    return spec;
  }
  // Returns when the first start has succeeded or failed.
  void Start() {
    providers::PluginHost::Options host;
    host.plugins = {options_.spec ? *options_.spec : FakeSpec()};
    host.directory = directory_.File("plugins");
    host.start_timeout = options_.start_timeout;
    host.backoff = {absl::Milliseconds(20), absl::Milliseconds(50)};
    host_.emplace(std::move(host),
                  providers::PluginHost::Dependencies{.clock = base::SystemClock(),
                                                      .random = base::SystemRandom(),
                                                      .log = log_,
                                                      .failures = failures_});
    host_->Start();
  }
  static providers::ProviderConfig Config(const std::string& provider_class, uint32_t limit = 0) {
    providers::ProviderConfig config;
    config.name = "test";
    config.plugin = "fake";
    config.manager = "some/manager";
    config.params = {{"class", provider_class}, {"limit", absl::StrCat(limit)}};
    return config;
  }
  bool WaitReady(int count = 1) { return log_.WaitFor({"\"plugin_ready\""}, count); }
  bool WaitDown(const std::string& cause, int count = 1) {
    return log_.WaitFor(
        {"\"failure\"", "\"PROVIDER_DOWN\"", absl::StrCat("\"cause\":\"", cause, "\"")}, count);
  }
  bool WaitResolved() { return log_.WaitFor({"\"RESOLVED\"", "\"PROVIDER_DOWN\""}); }
  void SetFault(const std::string& word) {
    std::ofstream(ControlPath() + ".new") << word;
    std::filesystem::rename(ControlPath() + ".new", ControlPath());
  }

  fakes::TemporaryDirectory& directory() { return directory_; }
  WaitingLog& log() { return log_; }
  providers::PluginHost& host() { return *host_; }
  observe::Failures& failures() { return failures_; }

 private:
  std::string ControlPath() const { return directory_.File("control"); }

  const Options options_;
  fakes::TemporaryDirectory directory_;
  WaitingLog log_;
  observe::Failures failures_{log_, base::SystemClock()};
  std::optional<providers::PluginHost> host_;
};

}  // namespace keyturn::conformance

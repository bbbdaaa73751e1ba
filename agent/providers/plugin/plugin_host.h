// SPDX-License-Identifier: Apache-2.0
// PluginHost: all plugins of the configuration, and the providers that they stand for. Descriptions
// are remembered, so that a provider that was once in order is not lost while its plugin is down.
// Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/serial_executor.h"
#include "agent/providers/plugin/plugin_supervisor.h"
#include "agent/providers/registry.h"

namespace keyturn::providers {

class PluginHost {
 public:
  struct Options {
    std::vector<PluginSpec> plugins;
    std::string directory;
    absl::Duration start_timeout = absl::Seconds(20);
    base::BackoffPolicy backoff;
    // Called on a thread of the host, each time a plugin can be asked again.
    std::function<void()> on_ready;
  };
  struct Dependencies {
    const base::Clock& clock;
    base::Random& random;
    observe::Log& log;
    observe::Failures& failures;
  };

  PluginHost(Options options, Dependencies deps);
  ~PluginHost();

  // Starts all, and waits for each until its first start has succeeded or failed.
  void Start();
  // Ends all plugins. Calls under way are answered before this returns, later ones never.
  // Idempotent.
  void Stop();

  // Asks the plugin about the resource, for 5 s at most, unless it has said so before. UNAVAILABLE
  // while the plugin is down; else as Registry::Make.
  absl::StatusOr<std::shared_ptr<Provider>> Make(const ProviderConfig& config);
  std::vector<std::string> Names() const;

 private:
  absl::StatusOr<plugin::v1::DescribeResponse> Describe(PluginSupervisor& plugin,
                                                        const ProviderConfig& config);

  Dependencies deps_;
  base::SerialExecutor executor_;
  bool stopped_ = false;
  std::map<std::string, std::unique_ptr<PluginSupervisor>> plugins_;
  absl::Mutex mu_;
  // By plugin and resource.
  absl::flat_hash_map<std::string, plugin::v1::DescribeResponse> described_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::providers

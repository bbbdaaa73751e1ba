// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/plugin_host.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/providers/plugin/plugin_provider.h"

namespace keyturn::providers {
namespace {

namespace pb = plugin::v1;

constexpr absl::Duration kDescribeMax = absl::Seconds(5);
constexpr size_t kDescribedMax = 1000;

// Lengths first, so that no two resources have one key.
std::string KeyOf(const ProviderConfig& config) {
  std::string key;
  const auto add = [&key](const std::string& text) {
    absl::StrAppend(&key, text.size(), ":", text);
  };
  add(config.plugin);
  add(config.name);
  add(config.endpoint);
  for (const auto& [name, value] : config.params) {
    add(name);
    add(value);
  }
  return key;
}

void Override(absl::Duration given, absl::Duration* trait) {
  if (given != absl::InfiniteDuration()) *trait = given;
}

}  // namespace

PluginHost::PluginHost(Options options, Dependencies deps)
    : deps_(deps), executor_("keyturn-plugin") {
  for (PluginSpec& spec : options.plugins) {
    const std::string name = spec.name;
    plugins_[name] = std::make_unique<PluginSupervisor>(
        PluginSupervisor::Options{.spec = std::move(spec),
                                  .parent_directory = options.directory,
                                  .start_timeout = options.start_timeout,
                                  .backoff = options.backoff,
                                  .on_ready = options.on_ready},
        PluginSupervisor::Dependencies{.executor = executor_,
                                       .clock = deps_.clock,
                                       .random = deps_.random,
                                       .log = deps_.log,
                                       .failures = deps_.failures});
  }
}

PluginHost::~PluginHost() { Stop(); }

void PluginHost::Start() {
  for (const auto& [name, plugin] : plugins_) plugin->Start();
  for (const auto& [name, plugin] : plugins_) plugin->WaitStarted(absl::Seconds(30));
}

void PluginHost::Stop() {
  if (std::exchange(stopped_, true)) return;
  for (const auto& [name, plugin] : plugins_) plugin->BeginStop();
  for (const auto& [name, plugin] : plugins_) plugin->FinishStop();
  executor_.Stop();
}

std::vector<std::string> PluginHost::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, plugin] : plugins_) names.push_back(name);
  return names;
}

absl::StatusOr<pb::DescribeResponse> PluginHost::Describe(PluginSupervisor& plugin,
                                                          const ProviderConfig& config) {
  const std::string key = KeyOf(config);
  {
    absl::MutexLock lock(&mu_);
    if (const auto found = described_.find(key); found != described_.end()) return found->second;
  }
  struct Answer {
    absl::Notification arrived;
    PluginReply reply = PluginReply::kNotSent;
    std::string cause;
    pb::DescribeResponse response;
  };
  pb::DescribeRequest request;
  WriteConfig(config, request.mutable_config());
  auto answer = std::make_shared<Answer>();
  if (!plugin.line().attached()) {
    answer->cause = "plugin_down";
  } else {
    plugin.line().Call<pb::DescribeRequest, pb::DescribeResponse>(
        &PluginLine::Async::Describe, std::move(request),
        std::min(kDescribeMax, plugin.line().timeout()),
        [answer](PluginReply reply, const char* cause, const pb::DescribeResponse& response) {
          answer->reply = reply;
          answer->cause = cause;
          answer->response = response;
          answer->arrived.Notify();
        });
    // The call has its own deadline; this one only guards against a host that is being stopped.
    answer->arrived.WaitForNotificationWithTimeout(kDescribeMax + absl::Seconds(1));
    if (!answer->arrived.HasBeenNotified()) return absl::UnavailableError("the agent is stopping");
  }
  if (answer->reply != PluginReply::kArrived) {
    const std::string trouble = plugin.Trouble();
    return absl::UnavailableError(absl::StrCat(
        "plugin: ", config.plugin, " ",
        trouble.empty() ? absl::StrCat("did not answer (", answer->cause, ")") : trouble,
        "; the log says more (PROVIDER_DOWN, plugin_output)"));
  }
  if (answer->response.problems().empty()) {
    absl::MutexLock lock(&mu_);
    if (described_.size() >= kDescribedMax) described_.clear();
    described_[key] = answer->response;
  }
  return std::move(answer->response);
}

absl::StatusOr<std::shared_ptr<Provider>> PluginHost::Make(const ProviderConfig& config) {
  const auto found = plugins_.find(config.plugin);
  if (found == plugins_.end()) {
    return FieldError("plugin",
                      absl::StrCat("keyturnd.yaml has no plugin \"", config.plugin, "\"; it has ",
                                   plugins_.empty() ? "none" : absl::StrJoin(Names(), ", ")));
  }
  const auto described = Describe(*found->second, config);
  if (!described.ok()) return described.status();
  auto traits = ReadDescription(*described, config);
  if (!traits.ok()) return traits.status();
  Override(config.propagation, &traits->propagation);
  Override(config.settle, &traits->settle);
  Override(config.cached_for, &traits->cached_for);
  return std::make_shared<PluginProvider>(config, *std::move(traits), found->second->line());
}

}  // namespace keyturn::providers

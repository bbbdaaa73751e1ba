// SPDX-License-Identifier: Apache-2.0
// What a plugin prints, as lines of the agent's log that say whose words they are. Bounded in rate:
// beyond a burst, lines are dropped and counted. Not thread-safe: one plugin, one thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "agent/base/clock.h"
#include "agent/observe/log.h"

namespace keyturn::providers {

class PluginOutput {
 public:
  PluginOutput(std::string plugin, const base::Clock& clock, observe::Log& log)
      : plugin_(std::move(plugin)), clock_(clock), log_(log), since_(clock.BootNow()) {}

  void TakeLine(absl::string_view line);
  // Says how many lines were dropped, if any.
  void End();

 private:
  const std::string plugin_;
  const base::Clock& clock_;
  observe::Log& log_;
  base::BootTime since_;
  double room_ = kBurst;
  uint64_t dropped_ = 0;

  static constexpr double kBurst = 100;
  static constexpr double kLinesPerSecond = 10;
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/plugin_output.h"

#include <algorithm>

namespace keyturn::providers {

void PluginOutput::TakeLine(absl::string_view line) {
  const base::BootTime now = clock_.BootNow();
  room_ = std::min(kBurst, room_ + kLinesPerSecond * absl::ToDoubleSeconds(now - since_));
  since_ = now;
  if (room_ < 1) {
    ++dropped_;
    return;
  }
  room_ -= 1;
  End();
  log_.Write(observe::Level::kInfo, "plugin_output", {{"plugin", plugin_}, {"line", line}});
}

void PluginOutput::End() {
  if (dropped_ == 0) return;
  log_.Write(observe::Level::kWarning, "plugin_output_dropped",
             {{"plugin", plugin_}, {"count", dropped_}});
  dropped_ = 0;
}

}  // namespace keyturn::providers

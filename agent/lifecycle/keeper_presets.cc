// SPDX-License-Identifier: Apache-2.0
// The services that OAuth credentials can name as their preset.
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {

void Keeper::ShowPreset(v1::ShowPresetRequest, Answer<v1::ShowPresetResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

void Keeper::ListPresets(Answer<v1::ListPresetsResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// What the admin API asks about the services that tokens can name as their preset.
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {

void Keeper::ListPresets(Answer<v1::ListPresetsResponse> done) {
  deps_.executor.Post([this, done = std::move(done)]() mutable {
    v1::ListPresetsResponse response;
    for (const auto& [name, preset] : deps_.checks.presets.all()) {
      v1::PresetSummary& summary = *response.add_presets();
      summary.set_name(name);
      summary.set_title(preset.spec.title());
      for (const int grant : preset.spec.grants()) {
        summary.add_grants(
            absl::AsciiStrToLower(v1::OAuthGrant_Name(static_cast<v1::OAuthGrant>(grant))));
      }
      // In a fixed order, which a proto's map does not have.
      const std::map<std::string, internal::v1::Preset::Param> params(preset.spec.params().begin(),
                                                                      preset.spec.params().end());
      for (const auto& [param, facts] : params) summary.add_params(param);
      summary.set_uncertain(!preset.spec.uncertain().empty());
    }
    done(std::move(response));
  });
}

void Keeper::ShowPreset(v1::ShowPresetRequest request, Answer<v1::ShowPresetResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    const providers::Preset* preset = deps_.checks.presets.Find(request.name());
    if (preset == nullptr) {
      return done(base::WithReason(
          absl::NotFoundError(absl::StrCat("there is no preset \"", request.name(), "\"")),
          "NO_SUCH_PRESET"));
    }
    v1::ShowPresetResponse response;
    response.set_yaml(preset->yaml);
    done(std::move(response));
  });
}

}  // namespace keyturn::lifecycle

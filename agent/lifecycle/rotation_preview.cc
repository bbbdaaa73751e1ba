// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/rotation_preview.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/duration_text.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

using providers::ProviderClass;

class Preview {
 public:
  Preview(const CredentialState& state, const providers::Traits& traits,
          const std::string& agent_id)
      : state_(state), traits_(traits), agent_id_(agent_id), old_(state.Current()) {}

  std::vector<PreviewedStep> Steps() {
    if (traits_.can_list && traits_.provider_class != ProviderClass::kManual) Add("list", List());
    if (traits_.provider_class == ProviderClass::kManual) {
      Add("put", absl::StrCat("a person brings the new key: keyturn put ", state_.record.name));
    } else {
      Add("create", Create());
    }
    if (traits_.can_verify) {
      Add("verify", absl::StrCat("the new key, for up to ",
                                 base::FormatDuration(traits_.propagation), " until it works"));
    }
    Add("promote", absl::StrCat("version ", state_.record.last_version + 1, " is handed out"));
    if (old_ != nullptr && !InPlace()) Retire();
    return std::move(steps_);
  }

 private:
  void Add(std::string step, std::string detail) {
    steps_.push_back({std::move(step), std::move(detail)});
  }

  // The old key dies when the new one is made.
  bool InPlace() const {
    return traits_.provider_class == ProviderClass::kRoll ||
           traits_.provider_class == ProviderClass::kSelfRoll;
  }

  std::string List() const {
    if (traits_.provider_class == ProviderClass::kDualSlot) return "both slots";
    std::string detail = absl::StrCat("the keys at \"", state_.record.spec.provider(), "\"");
    if (traits_.key_limit > 0) {
      absl::StrAppend(&detail, "; nothing is created unless there are fewer than ",
                      traits_.key_limit);
    }
    if (state_.record.spec.exclusive()) {
      absl::StrAppend(&detail, "; those that nobody accounts for are revoked first");
    } else if (traits_.provider_class == ProviderClass::kTagged) {
      absl::StrAppend(&detail, "; those of earlier attempts are revoked first");
    }
    return detail;
  }

  std::string OldKey() const {
    if (old_ == nullptr) return "the key";
    return old_->provider_key_id.empty()
               ? absl::StrCat("version ", old_->number)
               : absl::StrCat("version ", old_->number, ", key ", old_->provider_key_id);
  }

  std::string Create() const {
    switch (traits_.provider_class) {
      case ProviderClass::kTagged:
        return absl::StrCat("a key named kt-", agent_id_, "-...");
      case ProviderClass::kChosen:
        return "a secret that Keyturn chooses is set beside the one in use";
      case ProviderClass::kDualSlot: {
        // A key that was stored without its slot is told by what the slots hold.
        if (old_ != nullptr && old_->provider_key_id.empty()) {
          return "the slot that is not in use is regenerated";
        }
        // As the state machine: of two that are free, the last.
        for (auto slot = traits_.slots.rbegin(); slot != traits_.slots.rend(); ++slot) {
          if (old_ != nullptr && *slot == old_->provider_key_id) continue;
          return absl::StrCat("slot ", *slot, " is regenerated");
        }
        return "the slot that is not in use is regenerated";
      }
      case ProviderClass::kRoll:
        return absl::StrCat(OldKey(), " is replaced in place: the old value dies at once");
      case ProviderClass::kSelfRoll:
        return absl::StrCat(OldKey(), " replaces itself: the old value dies at once");
      default:
        return "a key";
    }
  }

  void Retire() {
    const v1::Grace& grace = state_.record.spec.rotate().grace();
    std::string wait = base::FormatDuration(GraceOf(state_.record.spec.rotate()));
    if (grace.wait_for() == v1::CONSUMERS) {
      absl::StrAppend(&wait, ", then until all consumers have moved on, at most ",
                      base::FormatDuration(ToDuration(grace.max())), " in all");
    }
    Add("wait", absl::StrCat("grace of ", wait));
    if (!traits_.can_revoke) return;
    Add("revoke", OldKey());
    if (traits_.can_list && traits_.provider_class != ProviderClass::kDualSlot) {
      Add("list", "until the old key is gone");
    }
    if (traits_.cached_for > absl::ZeroDuration()) {
      Add("wait", absl::StrCat(base::FormatDuration(traits_.cached_for),
                               ": the service may still accept the old key that long"));
    }
    const bool only_the_key_can_tell =
        traits_.cached_for > absl::ZeroDuration() || !traits_.can_list;
    if (traits_.can_verify && only_the_key_can_tell) {
      Add("verify", "the old key is refused");
    }
  }

  const CredentialState& state_;
  const providers::Traits& traits_;
  const std::string& agent_id_;
  const store::VersionRecord* const old_;
  std::vector<PreviewedStep> steps_;
};

}  // namespace

std::vector<PreviewedStep> PreviewOf(const CredentialState& state, const providers::Traits& traits,
                                     const std::string& agent_id) {
  return Preview(state, traits, agent_id).Steps();
}

}  // namespace keyturn::lifecycle

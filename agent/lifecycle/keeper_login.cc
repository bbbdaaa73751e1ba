// SPDX-License-Identifier: Apache-2.0
// Consent: a person lets Keyturn act for them, in a browser or on another device.
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/oauth/token_request.h"

namespace keyturn::lifecycle {

absl::Status Keeper::CheckLogin(const std::string& name) const {
  const auto state = Get(name);
  if (!state.ok()) return state.status();
  const v1::CredentialSpec& spec = (*state)->record.spec;
  if (!spec.has_oauth() || !oauth::HasLogin(spec)) {
    return base::WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "nobody consents to \"", name,
            "\": only OAuth tokens with grant authorization_code or device_code have a login")),
        "NOT_POSSIBLE_NOW");
  }
  if (absl::Status held = CheckNotHeld(name); !held.ok()) return held;
  if (const std::string missing = MissingSecret(spec, ledger_); !missing.empty()) {
    return base::WithReason(absl::FailedPreconditionError(absl::StrCat(
                                "\"", name, "\" waits for a secret: keyturn put ", missing)),
                            "NO_VALUE_YET", {{"credential", name}, {"missing", missing}});
  }
  return absl::OkStatus();
}

void Keeper::StartLogin(v1::StartLoginRequest request, Answer<v1::StartLoginResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    if (absl::Status impossible = CheckLogin(request.name()); !impossible.ok()) {
      return done(impossible);
    }
    logins_.Start(request.name(), request.redirect_uri(), std::move(done));
  });
}

void Keeper::FinishLogin(v1::FinishLoginRequest request, Answer<v1::FinishLoginResponse> done) {
  // The code that the address holds is as good as a secret until it is used.
  deps_.executor.Post(
      [this, name = request.name(), id = request.login_id(),
       address = base::Secret::Take(*request.mutable_redirected_to()),
       done = std::move(done)]() mutable { logins_.Finish(name, id, address, std::move(done)); });
}

}  // namespace keyturn::lifecycle

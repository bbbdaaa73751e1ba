// SPDX-License-Identifier: Apache-2.0
// Consent: a person lets Keyturn act for them, in a browser or on another device.
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {

void Keeper::StartLogin(v1::StartLoginRequest, Answer<v1::StartLoginResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

void Keeper::FinishLogin(v1::FinishLoginRequest, Answer<v1::FinishLoginResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// What people and services ask about tokens: to end one, to try one, and to look at one that was
// refused.
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {

void Keeper::Revoke(v1::RevokeRequest, Answer<v1::RevokeResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

void Keeper::TestCredential(v1::TestCredentialRequest, Answer<v1::TestCredentialResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

void Keeper::ReportRejected(std::string, v1::ReportRejectedRequest,
                            Answer<v1::ReportRejectedResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

}  // namespace keyturn::lifecycle

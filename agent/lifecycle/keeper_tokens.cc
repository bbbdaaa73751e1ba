// SPDX-License-Identifier: Apache-2.0
// What services say about tokens: that one was refused.
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {

void Keeper::ReportRejected(std::string, v1::ReportRejectedRequest,
                            Answer<v1::ReportRejectedResponse> done) {
  deps_.executor.Post([done = std::move(done)]() mutable { done(absl::UnimplementedError("")); });
}

}  // namespace keyturn::lifecycle

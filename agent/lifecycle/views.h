// SPDX-License-Identifier: Apache-2.0
// What people are shown of the ledger: summaries without secrets. Pure but for what it is handed.
#pragma once

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "agent/lifecycle/ledger.h"
#include "agent/observe/failures.h"
#include "keyturn/v1/admin.pb.h"

namespace keyturn::lifecycle {

struct ViewContext {
  const Ledger& ledger;
  const observe::Failures& failures;
  absl::Time now;
  // When the credential's next rotation, step or refresh is planned; InfiniteFuture: none.
  std::function<absl::Time(const std::string& name)> next_at;
  // When its current version ends; kNever: not by itself.
  std::function<absl::Time(const CredentialState& state)> expires_at;
  // When the open rotation acts next by itself; InfinitePast: it waits for a reply.
  std::function<absl::Time(const std::string& name)> next_step_at;
};

v1::CredentialSummary Summarize(const CredentialState& state, const ViewContext& context);
v1::ListResponse ViewList(const std::string& match, const ViewContext& context);
v1::DescribeResponse ViewOne(const CredentialState& state, const ViewContext& context);
v1::HistoryResponse ViewHistory(const CredentialState& state, uint32_t limit);
v1::StatusResponse ViewStatus(const ViewContext& context);

}  // namespace keyturn::lifecycle

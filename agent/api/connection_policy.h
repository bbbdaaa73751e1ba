// SPDX-License-Identifier: Apache-2.0
// What the principal of one connection may do, under the policy set in force now. The set is
// compiled for the principal once per generation; a decision costs two atomic operations beside the
// glob matches and takes no lock. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "agent/authn/principal.h"
#include "agent/authz/policy.h"
#include "agent/authz/policy_holder.h"

namespace keyturn::api {

class ConnectionPolicy {
 public:
  ConnectionPolicy(const authz::PolicyHolder& holder, authn::Principal principal);

  const authn::Principal& principal() const { return principal_; }
  // Principal::ToString, made once.
  const std::string& principal_text() const { return principal_text_; }

  authz::Decision Decide(authz::Action action, absl::string_view name);
  std::vector<authz::CallerPolicy::Grant> Grants();

 private:
  struct Compiled {
    uint64_t generation;
    authz::CallerPolicy policy;
  };
  // While one lives, no Compiled that it may have seen is freed.
  class Reading;
  std::unique_ptr<const Compiled> Compile() const;
  void Recompile();

  const authz::PolicyHolder& holder_;
  const authn::Principal principal_;
  const std::string principal_text_;
  std::atomic<int> readers_{0};
  std::atomic<const Compiled*> current_{nullptr};
  absl::Mutex mu_;
  // The last is `current_`; the others wait until nobody reads.
  std::vector<std::unique_ptr<const Compiled>> compiled_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::api

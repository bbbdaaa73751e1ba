// SPDX-License-Identifier: Apache-2.0
// The token that a recipe's `manager_token` exchanges the manager credential for: kept until
// shortly before its end, and asked for by one exchange at a time, however many calls wait for it.
// Thread-safe; no lock is held while asking or answering.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/secret.h"
#include "agent/base/value.h"
#include "agent/providers/provider.h"
#include "agent/providers/recipe/extract.h"

namespace keyturn::providers {

class ManagerTokens : public std::enable_shared_from_this<ManagerTokens> {
 public:
  // What an exchange came to; the token is set when the outcome is kOk.
  using Done = absl::AnyInvocable<void(CallResult, std::optional<ManagerToken>)>;
  // Makes one exchange. Never answers from within.
  using Exchange = absl::AnyInvocable<void(const base::CredentialValue& manager, Done done) const>;
  // The secret is set when the outcome is kOk. May be called from within Get.
  using Got = absl::AnyInvocable<void(CallResult, base::Secret)>;

  explicit ManagerTokens(const base::Clock& clock) : clock_(clock) {}

  // `exchange` must stay as long as calls are under way; pass the same each time.
  void Get(const base::CredentialValue& manager, std::shared_ptr<const Exchange> exchange, Got got);
  // The service refused this token: the next Get asks for another.
  void Forget(const base::Secret& token);

 private:
  struct Waiter {
    base::CredentialValue manager;
    Got got;
  };
  void Finish(const base::CredentialValue& manager, std::shared_ptr<const Exchange> exchange,
              const CallResult& call, std::optional<ManagerToken> token);

  const base::Clock& clock_;
  absl::Mutex mutex_;
  bool asking_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Waiter> waiting_ ABSL_GUARDED_BY(mutex_);
  // The token last got, for whom, and until when it is handed out.
  base::CredentialValue manager_ ABSL_GUARDED_BY(mutex_);
  base::Secret token_ ABSL_GUARDED_BY(mutex_);
  base::BootTime until_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace keyturn::providers

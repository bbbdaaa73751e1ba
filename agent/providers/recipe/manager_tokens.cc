// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/manager_tokens.h"

#include <algorithm>
#include <utility>

namespace keyturn::providers {
namespace {

constexpr size_t kWaitersMax = 256;
// A token whose end the reply does not tell.
constexpr absl::Duration kKeptByDefault = absl::Minutes(5);
// How long before its end a token is not handed out any more, at most.
constexpr absl::Duration kMarginMax = absl::Minutes(2);

}  // namespace

void ManagerTokens::Get(const base::CredentialValue& manager,
                        std::shared_ptr<const Exchange> exchange, Got got) {
  bool overloaded = false;
  base::Secret held;
  {
    absl::MutexLock lock(&mutex_);
    if (!token_.empty() && clock_.BootNow() < until_ && manager_ == manager) {
      held = token_;
    } else if (waiting_.size() >= kWaitersMax) {
      overloaded = true;
    } else {
      waiting_.push_back({manager, {}});
      std::swap(waiting_.back().got, got);
      if (std::exchange(asking_, true)) return;
    }
  }
  CallResult call;
  if (overloaded) {
    call.outcome = Outcome::kTransient;
    call.cause = "overloaded";
    return got(std::move(call), {});
  }
  if (!held.empty()) {
    call.outcome = Outcome::kOk;
    return got(std::move(call), std::move(held));
  }
  (*exchange)(manager, [self = shared_from_this(), manager, exchange](
                           const CallResult& result, std::optional<ManagerToken> token) {
    self->Finish(manager, exchange, result, std::move(token));
  });
}

void ManagerTokens::Finish(const base::CredentialValue& manager,
                           std::shared_ptr<const Exchange> exchange, const CallResult& call,
                           std::optional<ManagerToken> token) {
  std::vector<Waiter> waiting;
  {
    absl::MutexLock lock(&mutex_);
    asking_ = false;
    waiting.swap(waiting_);
    token_.Clear();
    if (token.has_value()) {
      const absl::Duration life =
          token->expires_at.has_value() ? *token->expires_at - clock_.WallNow() : kKeptByDefault;
      token_ = token->value;
      manager_ = manager;
      until_ = clock_.BootNow() + life - std::min(kMarginMax, life / 10);
    }
  }
  for (Waiter& waiter : waiting) {
    if (!(waiter.manager == manager)) {
      // The manager credential changed meanwhile: this one has to ask again.
      Get(waiter.manager, exchange, std::move(waiter.got));
    } else {
      waiter.got(call, token.has_value() ? token->value : base::Secret());
    }
  }
}

void ManagerTokens::Forget(const base::Secret& token) {
  absl::MutexLock lock(&mutex_);
  if (token_ == token) token_.Clear();
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// Sends requests, with a proof of possession where there is a key for one, and once more when the
// server did nothing but ask for a nonce in it (RFC 9449 sections 8 and 9). Thread-safe; `done` is
// called exactly once, on the HTTP client's thread, never from within.
#pragma once

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "agent/base/clock.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"
#include "agent/net/http_client.h"
#include "agent/providers/oauth/dpop_nonces.h"

namespace keyturn::providers {

class DpopExchange : public std::enable_shared_from_this<DpopExchange> {
 public:
  struct Call {
    // The request without its proof. Asked again for the second attempt, since assertions in it
    // must not be used twice.
    absl::AnyInvocable<absl::StatusOr<net::HttpRequest>()> build;
    // PEM; empty: no proof.
    base::Secret key;
    // The token that the request presents; empty for a token request.
    base::Secret access_token;
    // A status when the request could not be built: nothing was sent.
    absl::AnyInvocable<void(absl::StatusOr<net::HttpResult>)> done;
  };

  // What is referred to outlives every call. Held by a shared_ptr, which calls share.
  DpopExchange(net::HttpClient& http, base::Clock& clock, base::Random& random)
      : http_(http), clock_(clock), random_(random) {}

  void Send(Call call);
  // Runs the task on the HTTP client's thread.
  void Later(absl::AnyInvocable<void()> task);

 private:
  void Attempt(std::shared_ptr<Call> call, bool last);
  absl::StatusOr<net::HttpRequest> Build(Call& call);

  net::HttpClient& http_;
  base::Clock& clock_;
  base::Random& random_;
  DpopNonces nonces_;
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/dpop_exchange.h"

#include <string>
#include <utility>

#include "agent/providers/oauth/dpop_proof.h"

namespace keyturn::providers {

void DpopExchange::Send(Call call) { Attempt(std::make_shared<Call>(std::move(call)), false); }

void DpopExchange::Later(absl::AnyInvocable<void()> task) {
  // A request that is none comes back at once and by the same way as all others.
  http_.Send({}, [task = std::move(task)](const net::HttpResult&) mutable { task(); });
}

absl::StatusOr<net::HttpRequest> DpopExchange::Build(Call& call) {
  auto http = call.build();
  if (!http.ok() || call.key.empty()) return http;
  ProofFor what;
  what.method = http->method;
  what.url = http->url;
  what.nonce = nonces_.For(http->url);
  what.access_token = call.access_token.empty() ? nullptr : &call.access_token;
  auto proof = MakeDpopProof(call.key, what, clock_.WallNow(), random_);
  if (!proof.ok()) return proof.status();
  http->headers.emplace_back("DPoP", *std::move(proof));
  return http;
}

void DpopExchange::Attempt(std::shared_ptr<Call> call, bool last) {
  auto http = Build(*call);
  if (!http.ok()) {
    Later([call = std::move(call), status = http.status()] { call->done(status); });
    return;
  }
  const std::string url = http->url;
  http_.Send(*std::move(http), [self = shared_from_this(), call = std::move(call), url,
                                last](net::HttpResult result) mutable {
    if (!call->key.empty()) {
      self->nonces_.Note(url, result);
      if (!last && DpopNonces::AskedFor(result)) {
        self->Attempt(std::move(call), true);
        return;
      }
    }
    call->done(std::move(result));
  });
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// HttpClient: one request to a provider, with the one distinction that rotation lives on: whether a
// request that brought no answer can have had an effect. No redirects, no retries, no cookies;
// replies over the size cap count as unanswered. Thread-safe; never blocks the caller.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/secret.h"

namespace keyturn::net {

struct HttpRequest {
  std::string method = "GET";
  // May hold a secret (some services want keys in the query): never log it.
  std::string url;
  // Values may be secret. Names and values hold no control characters.
  std::vector<std::pair<std::string, base::Secret>> headers;
  base::Secret body;
  // In PEM: the certificate (its chain may follow) and its unencrypted key, for servers that know
  // clients by them. Both or none.
  base::Secret client_certificate;
  base::Secret client_key;
  // For the whole exchange.
  absl::Duration timeout = absl::Seconds(30);
  size_t max_reply_bytes = 256 * 1024;
  // Never on a reused connection. libcurl silently sends a request again when a reused connection
  // dies before the reply, which for a create or a refresh means a second effect.
  bool fresh_connection = true;
};

struct HttpReply {
  int status = 0;
  // Names in lower case.
  std::vector<std::pair<std::string, std::string>> headers;
  base::Secret body;

  // Empty when absent. The last one wins.
  absl::string_view Header(absl::string_view lower_case_name) const;
};

enum class Delivery {
  // A complete reply arrived.
  kAnswered,
  // No byte of the request reached the service: certainly no effect.
  kNotSent,
  // The request was sent, in part or whole, and no complete reply arrived: anything may have
  // happened.
  kUnknown,
};

struct HttpResult {
  Delivery delivery = Delivery::kNotSent;
  HttpReply reply;  // only when answered
  // A cause class for logs: `dns`, `connect`, `tls`, `timeout`, `reset`, `too_large`,
  // `denied_address`, `denied_scheme`, `bad_url`, `bad_header`, `overloaded`, `protocol`,
  // `stopped`. Never text from the remote side.
  std::string cause;
  // When the request was handed to the network.
  base::BootTime sent_at;
};

class HttpClient {
 public:
  using Done = absl::AnyInvocable<void(HttpResult)>;
  virtual ~HttpClient() = default;

  // Calls `done` exactly once, from a thread of the client's (never from within Send), also when
  // the client is being stopped.
  virtual void Send(HttpRequest request, Done done) = 0;
};

}  // namespace keyturn::net

// SPDX-License-Identifier: Apache-2.0
// The last nonce that each server gave for DPoP proofs (RFC 9449 section 8). Bounded: a nonce that
// was dropped costs one more round trip. Thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/http_client.h"

namespace keyturn::providers {

class DpopNonces {
 public:
  explicit DpopNonces(size_t origins_max = 256) : origins_max_(origins_max) {}

  // For requests to this URL's origin; empty when none is known.
  std::string For(const std::string& url) const;
  // Keeps the nonce that came with this reply, if one did.
  void Note(const std::string& url, const net::HttpResult& result);
  // Whether the server did nothing but ask for the nonce that it sent along.
  static bool AskedFor(const net::HttpResult& result);

 private:
  const size_t origins_max_;
  mutable absl::Mutex mu_;
  std::map<std::string, std::string> by_origin_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::providers

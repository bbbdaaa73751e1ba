// SPDX-License-Identifier: Apache-2.0
// RedirectListener: where the browser comes back to after a login (RFC 8252 section 7.3). Listens
// on 127.0.0.1 alone and takes one thing: a GET of /callback that belongs to this login. What else
// any page or program of this host sends is refused and changes nothing. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "keyturn/secret_string.h"

namespace keyturn::cli {

class RedirectListener {
 public:
  // `port` 0: any that is free. UNAVAILABLE when it is taken.
  static absl::StatusOr<std::unique_ptr<RedirectListener>> Start(uint16_t port);

  // Ends connections, the one that waits for Show too.
  virtual ~RedirectListener() = default;

  virtual std::string redirect_uri() const = 0;
  // From here on the browser is expected: `authorization_url` is where it was sent.
  virtual void Expect(absl::string_view authorization_url) = 0;
  // The whole address it came back to. DEADLINE_EXCEEDED when it does not come in time.
  virtual absl::StatusOr<SecretString> Await(absl::Time deadline) = 0;
  // The page that the browser is waiting for. Returns when it was sent, or nobody is there to see.
  virtual void Show(bool worked) = 0;
};

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// The body of a server's reply as a tree, and the few things that all readers of it want. Takes
// hostile input; wipes what it read. Not thread-safe.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/time/time.h"
#include "agent/net/http_client.h"

namespace keyturn::providers {

class ReplyBody {
 public:
  // JSON, or a form when the reply says that it is one. Anything else is an empty object.
  explicit ReplyBody(const net::HttpReply& reply);
  ~ReplyBody();
  ReplyBody(const ReplyBody&) = delete;
  ReplyBody& operator=(const ReplyBody&) = delete;

  // Null when the pointer (RFC 6901) leads nowhere, or to null.
  const nlohmann::json* At(const std::string& pointer) const;
  // The member's text; empty when it is absent or no text.
  std::string Text(const char* name) const;
  bool readable() const { return readable_; }

 private:
  std::unique_ptr<nlohmann::json> tree_;
  // Whether the body was an object.
  bool readable_ = false;
};

// How long the server wants to be left alone: Retry-After in seconds or as a date, or the member
// `retry_after`. At most an hour; zero when it does not say.
absl::Duration RetryAfterOf(const net::HttpReply& reply, const ReplyBody& body, absl::Time now);

// The server's clock when it answered, where it says; `otherwise` where not.
absl::Time ServersTime(const net::HttpReply& reply, absl::Time otherwise);

// RFC 6749 appendix A.12 and A.17: tokens are VSCHAR; none in use holds a space, and one that did
// could not be told from two in a header. At most 64 KiB.
bool IsTokenText(absl::string_view text);

}  // namespace keyturn::providers

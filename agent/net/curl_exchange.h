// SPDX-License-Identifier: Apache-2.0
// One request on one curl handle: what is set on it, what its callbacks gather, and what its end
// means. Belongs to the client's thread.
#pragma once

#include <curl/curl.h>

#include <string>

#include "agent/base/clock.h"
#include "agent/net/egress.h"
#include "agent/net/http_client.h"

namespace keyturn::net {

class CurlExchange {
 public:
  CurlExchange(HttpRequest request, HttpClient::Done done, base::Clock& clock);
  ~CurlExchange();
  CurlExchange(const CurlExchange&) = delete;
  CurlExchange& operator=(const CurlExchange&) = delete;

  // Prepares the handle. Empty, or the cause for which the request must not be made.
  std::string Prepare(const EgressRules& egress, const std::string& ca_file);
  CURL* handle() { return easy_; }

  // Hands the result to `done`; each at most once.
  void Finish(CURLcode code);
  // `stopped`, `overloaded`, or what Prepare gave.
  void Abandon(const std::string& cause);

 private:
  static curl_socket_t OpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int BeforeRequest(void* self, char*, char*, int, int);
  static size_t TakeHeader(char* data, size_t size, size_t count, void* self);
  static size_t TakeBody(char* data, size_t size, size_t count, void* self);

  bool SetHeaders();
  void SetBody();
  bool SetCertificate();
  void Append(const char* data, size_t size);
  std::string CauseOf(CURLcode code) const;
  void Deliver(Delivery delivery, std::string cause);

  HttpRequest request_;
  HttpClient::Done done_;
  base::Clock& clock_;
  const base::BootTime queued_at_;
  const EgressRules* egress_ = nullptr;
  CURL* easy_ = nullptr;
  curl_slist* header_list_ = nullptr;

  // The connection stood and the request was about to be written: from here on it may have had an
  // effect.
  bool sending_ = false;
  bool address_denied_ = false;
  bool too_large_ = false;
  size_t header_bytes_ = 0;
  base::BootTime sent_at_;
  HttpReply reply_;
  std::string body_;
};

}  // namespace keyturn::net

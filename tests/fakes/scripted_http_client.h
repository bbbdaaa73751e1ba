// SPDX-License-Identifier: Apache-2.0
// HttpClient whose remote side is a function of the test. Requests are recorded in order; answers
// come as tasks of the executor, never from within Send. Belongs to the executor's thread.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "agent/net/http_client.h"

namespace keyturn::fakes {

class ScriptedHttpClient final : public net::HttpClient {
 public:
  // What a test wants to look at: the same as net::HttpRequest, as plain text.
  struct Request {
    std::string method;
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
    std::string client_certificate;
    std::string client_key;
    bool fresh_connection = false;

    // Compared without regard to case; empty when absent.
    std::string Header(const std::string& name) const;
  };
  using Handler = std::function<net::HttpResult(const Request&)>;

  ScriptedHttpClient(base::Clock& clock, base::Executor& executor)
      : clock_(clock), executor_(executor) {}

  // Until one is set, every request ends as kNotSent, `connect`.
  void SetHandler(Handler handler) { handler_ = std::move(handler); }
  void SetLatency(absl::Duration latency) { latency_ = latency; }
  const std::vector<Request>& requests() const { return requests_; }
  void ClearRequests() { requests_.clear(); }

  void Send(net::HttpRequest request, Done done) override;

  static net::HttpResult Reply(int status, const std::string& body,
                               std::vector<std::pair<std::string, std::string>> headers = {});
  static net::HttpResult Failed(net::Delivery delivery, const std::string& cause);

 private:
  net::HttpResult Ask(const net::HttpRequest& request);

  base::Clock& clock_;
  base::Executor& executor_;
  absl::Duration latency_ = absl::Milliseconds(5);
  Handler handler_;
  std::vector<Request> requests_;
};

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/scripted_http_client.h"

#include <strings.h>

namespace keyturn::fakes {

std::string ScriptedHttpClient::Request::Header(const std::string& name) const {
  for (const auto& [key, value] : headers) {
    if (strcasecmp(key.c_str(), name.c_str()) == 0) return value;
  }
  return "";
}

void ScriptedHttpClient::Send(net::HttpRequest request, Done done) {
  net::HttpResult result = Failed(net::Delivery::kNotSent, "bad_url");
  // As the real client: what is no request reaches no service.
  if (!request.method.empty() && !request.url.empty()) result = Ask(request);
  result.sent_at = clock_.BootNow();
  executor_.After(latency_, [done = std::move(done), result = std::move(result)]() mutable {
    done(std::move(result));
  });
}

net::HttpResult ScriptedHttpClient::Ask(const net::HttpRequest& request) {
  Request plain;
  plain.method = request.method;
  plain.url = request.url;
  for (const auto& [name, value] : request.headers) {
    plain.headers.emplace_back(name, std::string(value.Reveal()));
  }
  plain.body = std::string(request.body.Reveal());
  plain.client_certificate = std::string(request.client_certificate.Reveal());
  plain.client_key = std::string(request.client_key.Reveal());
  plain.fresh_connection = request.fresh_connection;
  requests_.push_back(plain);
  return handler_ ? handler_(plain) : Failed(net::Delivery::kNotSent, "connect");
}

net::HttpResult ScriptedHttpClient::Reply(
    int status, const std::string& body, std::vector<std::pair<std::string, std::string>> headers) {
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = status;
  result.reply.body = base::Secret(body);
  result.reply.headers = std::move(headers);
  return result;
}

net::HttpResult ScriptedHttpClient::Failed(net::Delivery delivery, const std::string& cause) {
  net::HttpResult result;
  result.delivery = delivery;
  result.cause = cause;
  return result;
}

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
// The client against a server of a few lines on a socket of this test, which misbehaves on demand.
// What matters most is the line between kNotSent and kUnknown.
#include "agent/net/curl_http_client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/clock.h"

namespace keyturn::net {
namespace {

using testing::HasSubstr;
using testing::Not;

// Each connection is handled, one after the other, by the function given.
class RawServer {
 public:
  class Connection {
   public:
    explicit Connection(int fd) : fd_(fd) {}
    ~Connection() { ::close(fd_); }
    // Until the empty line, or the end; then `body` more bytes.
    std::string ReadRequest(size_t body = 0) {
      std::string text;
      char buffer[4096];
      size_t wanted = std::string::npos;
      while (text.size() < wanted) {
        const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
        if (n <= 0) break;
        text.append(buffer, static_cast<size_t>(n));
        const size_t end = text.find("\r\n\r\n");
        if (end != std::string::npos) wanted = end + 4 + body;
      }
      return text;
    }
    // False when the other side has gone.
    bool Write(const std::string& text) {
      return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) ==
             static_cast<ssize_t>(text.size());
    }
    // Returns when the first byte has come, and leaves it unread.
    void WaitForData() {
      char byte;
      ::recv(fd_, &byte, 1, MSG_PEEK);
    }
    // Closing with unread data or this option sends a reset.
    void Reset() {
      const linger now = {1, 0};
      ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    // Returns when the other side closes.
    void WaitForClose() {
      char byte;
      while (::recv(fd_, &byte, 1, 0) > 0) {
      }
    }

   private:
    const int fd_;
  };

  explicit RawServer(std::function<void(Connection&)> handle) : handle_(std::move(handle)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~RawServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string Url(const std::string& path = "/") const {
    return absl::StrCat("http://127.0.0.1:", port_, path);
  }
  int port() const { return port_; }
  int connections() {
    absl::MutexLock lock(&mu_);
    return connections_;
  }

 private:
  void Run() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      {
        absl::MutexLock lock(&mu_);
        ++connections_;
      }
      Connection connection(fd);
      handle_(connection);
    }
  }

  std::function<void(Connection&)> handle_;
  int listener_ = -1;
  int port_ = 0;
  absl::Mutex mu_;
  int connections_ ABSL_GUARDED_BY(mu_) = 0;
  std::thread thread_;
};

using Connection = RawServer::Connection;

std::string Reply(const std::string& body, const std::string& more = "") {
  return absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\n", more, "\r\n",
                      body);
}

std::unique_ptr<CurlHttpClient> MakeClient(std::vector<std::string> allow_private = {"127.0.0.1"},
                                           std::vector<std::string> allow_http = {"127.0.0.1",
                                                                                  "localhost"}) {
  CurlHttpClient::Options options;
  options.egress = EgressRules::Create(allow_private, allow_http).value();
  return CurlHttpClient::Create(std::move(options), base::SystemClock()).value();
}

std::future<HttpResult> Start(HttpClient& client, HttpRequest request) {
  auto promise = std::make_shared<std::promise<HttpResult>>();
  auto future = promise->get_future();
  client.Send(std::move(request),
              [promise](HttpResult result) { promise->set_value(std::move(result)); });
  return future;
}

HttpResult Fetch(HttpClient& client, HttpRequest request) {
  return Start(client, std::move(request)).get();
}

HttpRequest Get(const std::string& url) {
  HttpRequest request;
  request.url = url;
  request.timeout = absl::Seconds(20);
  return request;
}

HttpRequest Post(const std::string& url, const std::string& body) {
  HttpRequest request = Get(url);
  request.method = "POST";
  request.headers.emplace_back("Authorization", base::Secret("Bearer s3cret"));
  request.body = base::Secret(body);
  return request;
}

TEST(CurlHttpClient, SendsWhatWasAskedAndNothingMore) {
  std::string seen;
  RawServer server([&](Connection& c) {
    seen = c.ReadRequest(4);
    c.Write(Reply("{}", "X-Some: a\r\nx-some:  b \r\n"));
  });
  auto client = MakeClient();
  const HttpResult result = Fetch(*client, Post(server.Url("/a/../b?c=%20"), "body"));
  ASSERT_EQ(result.delivery, Delivery::kAnswered) << result.cause;
  EXPECT_EQ(result.reply.status, 200);
  EXPECT_EQ(result.reply.body.Reveal(), "{}");
  EXPECT_EQ(result.reply.Header("x-some"), "b");
  EXPECT_EQ(result.reply.Header("absent"), "");
  EXPECT_THAT(seen, testing::StartsWith("POST /a/../b?c=%20 HTTP/1.1\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nAuthorization: Bearer s3cret\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nUser-Agent: keyturn/0.1\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nContent-Length: 4\r\n"));
  EXPECT_THAT(seen, testing::EndsWith("\r\n\r\nbody"));
  for (const char* unwanted : {"Expect", "Content-Type", "Cookie", "Accept-Encoding"}) {
    EXPECT_THAT(seen, Not(HasSubstr(unwanted)));
  }
}

TEST(CurlHttpClient, MethodsWithoutBody) {
  std::string seen;
  RawServer server([&](Connection& c) {
    seen = c.ReadRequest();
    c.Write("HTTP/1.1 204 No Content\r\n\r\n");
  });
  auto client = MakeClient();
  HttpRequest request = Get(server.Url());
  request.method = "DELETE";
  EXPECT_EQ(Fetch(*client, std::move(request)).reply.status, 204);
  EXPECT_THAT(seen, testing::StartsWith("DELETE / "));
  EXPECT_THAT(seen, Not(HasSubstr("Content-Length")));
  request = Get(server.Url());
  request.method = "POST";
  EXPECT_EQ(Fetch(*client, std::move(request)).reply.status, 204);
  EXPECT_THAT(seen, HasSubstr("Content-Length: 0"));
}

TEST(CurlHttpClient, NothingOfTheEnvironmentCounts) {
  RawServer server([&](Connection& c) {
    c.ReadRequest();
    c.Write(Reply("direct"));
  });
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  auto client = MakeClient();
  EXPECT_EQ(Fetch(*client, Get(server.Url())).reply.body.Reveal(), "direct");
  ::unsetenv("http_proxy");
  ::unsetenv("ALL_PROXY");
}

TEST(CurlHttpClient, RedirectsAreAnswersAndNotFollowed) {
  RawServer server([&](Connection& c) {
    c.ReadRequest();
    c.Write("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
  });
  auto client = MakeClient();
  EXPECT_EQ(Fetch(*client, Get(server.Url())).reply.status, 302);
  client->Stop();
  EXPECT_EQ(server.connections(), 1);
}

TEST(CurlHttpClient, ConnectionRefusedIsNotSent) {
  int port = 0;
  {
    RawServer server([](Connection&) {});
    port = server.port();
  }
  auto client = MakeClient();
  const HttpResult result = Fetch(*client, Post(absl::StrCat("http://127.0.0.1:", port), "x"));
  EXPECT_EQ(result.delivery, Delivery::kNotSent);
  EXPECT_EQ(result.cause, "connect");
}

TEST(CurlHttpClient, ResetAfterTheRequestIsUnknown) {
  for (const bool read_first : {false, true}) {
    RawServer server([&](Connection& c) {
      if (read_first) {
        c.ReadRequest(1);
      } else {
        c.WaitForData();
      }
      c.Reset();
    });
    auto client = MakeClient();
    const HttpResult result = Fetch(*client, Post(server.Url(), "x"));
    // Not even a reset before the request was read proves that it was not.
    EXPECT_EQ(result.delivery, Delivery::kUnknown);
    EXPECT_EQ(result.cause, "reset");
    client->Stop();
    EXPECT_EQ(server.connections(), 1) << "a lost request must not be sent again";
  }
}

TEST(CurlHttpClient, CutReplyIsUnknown) {
  RawServer server([&](Connection& c) {
    c.ReadRequest(1);
    c.Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"key\":");
  });
  auto client = MakeClient();
  const HttpResult result = Fetch(*client, Post(server.Url(), "x"));
  EXPECT_EQ(result.delivery, Delivery::kUnknown);
  EXPECT_EQ(result.cause, "reset");
  EXPECT_TRUE(result.reply.body.empty());
}

TEST(CurlHttpClient, WhatIsNoHttpIsUnknown) {
  RawServer server([&](Connection& c) {
    c.ReadRequest(1);
    c.Write("SSH-2.0-OpenSSH_9\r\n");
    c.WaitForClose();
  });
  auto client = MakeClient();
  const HttpResult result = Fetch(*client, Post(server.Url(), "x"));
  EXPECT_EQ(result.delivery, Delivery::kUnknown);
  EXPECT_EQ(result.cause, "protocol");
}

TEST(CurlHttpClient, EndlessBodyIsCutOff) {
  RawServer server([&](Connection& c) {
    c.ReadRequest(1);
    c.Write("HTTP/1.1 200 OK\r\n\r\n");
    while (c.Write(std::string(16384, 'a'))) {
    }
  });
  auto client = MakeClient();
  const HttpResult result = Fetch(*client, Post(server.Url(), "x"));
  EXPECT_EQ(result.delivery, Delivery::kUnknown);
  EXPECT_EQ(result.cause, "too_large");
}

TEST(CurlHttpClient, BodyOfExactlyTheCapIsTaken) {
  RawServer server([&](Connection& c) {
    c.ReadRequest();
    c.Write(Reply(std::string(100'000, 'b')));
  });
  auto client = MakeClient();
  HttpRequest request = Get(server.Url());
  request.max_reply_bytes = 100'000;
  EXPECT_EQ(Fetch(*client, std::move(request)).reply.body.size(), 100'000U);
  request = Get(server.Url());
  request.max_reply_bytes = 99'999;
  EXPECT_EQ(Fetch(*client, std::move(request)).cause, "too_large");
}

TEST(CurlHttpClient, EndlessHeadersAreCutOff) {
  RawServer server([&](Connection& c) {
    c.ReadRequest(1);
    c.Write("HTTP/1.1 200 OK\r\n");
    while (c.Write("X-More: " + std::string(1000, 'h') + "\r\n")) {
    }
  });
  auto client = MakeClient();
  const HttpResult result = Fetch(*client, Post(server.Url(), "x"));
  EXPECT_EQ(result.delivery, Delivery::kUnknown);
  EXPECT_EQ(result.cause, "too_large");
}

TEST(CurlHttpClient, SlowServerRunsIntoTheTimeout) {
  RawServer server([&](Connection& c) {
    c.ReadRequest(1);
    c.WaitForClose();
  });
  auto client = MakeClient();
  HttpRequest request = Post(server.Url(), "x");
  request.timeout = absl::Milliseconds(100);
  const HttpResult result = Fetch(*client, std::move(request));
  EXPECT_EQ(result.delivery, Delivery::kUnknown);
  EXPECT_EQ(result.cause, "timeout");
}

TEST(CurlHttpClient, BrokenTlsIsNotSent) {
  RawServer server([&](Connection& c) {
    c.ReadRequest();  // the hello has no empty line: ends when the client goes or by its bytes
  });
  RawServer plain([&](Connection& c) { c.Write("HTTP/1.1 400 no TLS here\r\n\r\n"); });
  auto client = MakeClient();
  HttpResult result = Fetch(*client, Post(absl::StrCat("https://127.0.0.1:", plain.port()), "x"));
  EXPECT_EQ(result.delivery, Delivery::kNotSent);
  EXPECT_EQ(result.cause, "tls");
  HttpRequest request = Post(absl::StrCat("https://127.0.0.1:", server.port()), "x");
  request.timeout = absl::Milliseconds(100);
  result = Fetch(*client, std::move(request));
  EXPECT_EQ(result.delivery, Delivery::kNotSent);
  EXPECT_EQ(result.cause, "timeout");
}

TEST(CurlHttpClient, EgressRulesHoldAtConnect) {
  RawServer server([](Connection&) {});
  auto client = MakeClient({}, {"127.0.0.1", "localhost"});
  for (const char* host : {"127.0.0.1", "localhost", "2130706433", "127.1"}) {
    const HttpResult result =
        Fetch(*client, Get(absl::StrCat("http://", host, ":", server.port())));
    EXPECT_EQ(result.delivery, Delivery::kNotSent) << host;
    EXPECT_EQ(result.cause, "denied_address") << host;
  }
  client->Stop();
  EXPECT_EQ(server.connections(), 0);
}

TEST(CurlHttpClient, RefusesBeforeConnecting) {
  RawServer server([](Connection&) {});
  auto client = MakeClient({"127.0.0.1"}, {});
  EXPECT_EQ(Fetch(*client, Get(server.Url())).cause, "denied_scheme");
  EXPECT_EQ(Fetch(*client, Get("file:///etc/passwd")).cause, "bad_url");
  EXPECT_EQ(Fetch(*client, Get("https://user@example.com")).cause, "bad_url");
  HttpRequest request = Get("https://127.0.0.1");
  request.headers.emplace_back("X-Key", base::Secret("a\r\nX-Other: b"));
  EXPECT_EQ(Fetch(*client, std::move(request)).cause, "bad_header");
  request = Get("https://127.0.0.1");
  request.method = "GET / HTTP/1.1\r\nX: y";
  EXPECT_EQ(Fetch(*client, std::move(request)).delivery, Delivery::kNotSent);
  client->Stop();
  EXPECT_EQ(server.connections(), 0);
}

TEST(CurlHttpClient, ConnectionsAreKeptOnlyWhenAsked) {
  RawServer server([&](Connection& c) {
    while (!c.ReadRequest().empty()) c.Write(Reply("x"));
  });
  auto client = MakeClient();
  for (int i = 0; i < 3; ++i) {
    HttpRequest request = Get(server.Url());
    request.fresh_connection = false;
    EXPECT_EQ(Fetch(*client, std::move(request)).delivery, Delivery::kAnswered);
  }
  EXPECT_EQ(server.connections(), 1);
  // The kept connection has to go first: the server handles one at a time.
  client = MakeClient();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Fetch(*client, Get(server.Url())).delivery, Delivery::kAnswered);
  }
  EXPECT_EQ(server.connections(), 4);
}

TEST(CurlHttpClient, StopAnswersEverything) {
  std::promise<void> arrived;
  RawServer server([&](Connection& c) {
    c.ReadRequest(1);
    arrived.set_value();
    c.WaitForClose();
  });
  CurlHttpClient::Options options;
  options.egress = EgressRules::Create({"127.0.0.1"}, {"127.0.0.1"}).value();
  options.concurrent_max = 1;
  auto client = CurlHttpClient::Create(std::move(options), base::SystemClock()).value();
  auto under_way = Start(*client, Post(server.Url(), "x"));
  arrived.get_future().wait();
  auto waiting = Start(*client, Post(server.Url(), "x"));
  client->Stop();
  const HttpResult first = under_way.get();
  EXPECT_EQ(first.delivery, Delivery::kUnknown);
  EXPECT_EQ(first.cause, "stopped");
  const HttpResult second = waiting.get();
  EXPECT_EQ(second.delivery, Delivery::kNotSent);
  EXPECT_EQ(second.cause, "stopped");
  const HttpResult late = Fetch(*client, Get(server.Url()));
  EXPECT_EQ(late.delivery, Delivery::kNotSent);
  EXPECT_EQ(late.cause, "stopped");
}

TEST(CurlHttpClient, FullQueueRefuses) {
  std::promise<void> arrived;
  RawServer server([&](Connection& c) {
    c.ReadRequest(1);
    arrived.set_value();
    c.WaitForClose();
  });
  CurlHttpClient::Options options;
  options.egress = EgressRules::Create({"127.0.0.1"}, {"127.0.0.1"}).value();
  options.concurrent_max = 1;
  options.queue_max = 1;
  auto client = CurlHttpClient::Create(std::move(options), base::SystemClock()).value();
  auto under_way = Start(*client, Post(server.Url(), "x"));
  arrived.get_future().wait();
  auto waiting = Start(*client, Get(server.Url()));
  const HttpResult refused = Fetch(*client, Get(server.Url()));
  EXPECT_EQ(refused.delivery, Delivery::kNotSent);
  EXPECT_EQ(refused.cause, "overloaded");
  client->Stop();
}

TEST(CurlHttpClient, MissingCaFileIsAnError) {
  CurlHttpClient::Options options;
  options.ca_file = "/nonexistent/ca.pem";
  const auto client = CurlHttpClient::Create(std::move(options), base::SystemClock());
  EXPECT_EQ(client.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace keyturn::net

// SPDX-License-Identifier: Apache-2.0
// The listener for the browser: over real sockets, against what other pages and programs send.
#include "client/cli/redirect_listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace keyturn::cli {
namespace {

class RedirectListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto listener = RedirectListener::Start(0);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    const std::string uri = listener_->redirect_uri();
    authority_ = uri.substr(7, uri.find('/', 7) - 7);
    ASSERT_TRUE(absl::SimpleAtoi(authority_.substr(authority_.find(':') + 1), &port_)) << uri;
  }
  // Sends bytes as they are; all that comes back until the end.
  std::string Send(const std::string& bytes) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;  // it has heard enough
      sent += static_cast<size_t>(n);
    }
    std::string reply;
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
      reply.append(buffer, static_cast<size_t>(n));
    }
    close(fd);
    return reply;
  }
  std::string Get(const std::string& target, const std::string& more = "") {
    return Send(
        absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: ", authority_, "\r\n", more, "\r\n"));
  }
  static bool HasStatus(const std::string& reply, int status) {
    return absl::StartsWith(reply, absl::StrCat("HTTP/1.1 ", status, " "));
  }
  // Nobody has come whom the login waited for.
  bool Untouched() { return !listener_->Await(absl::Now()).ok(); }

  std::unique_ptr<RedirectListener> listener_;
  std::string authority_;
  int port_ = 0;
};

constexpr char kUrl[] = "https://as.example.com/auth?client_id=app&state=abc-_123&scope=x";

TEST_F(RedirectListenerTest, TakesTheAddressAndShowsHowItWent) {
  for (const bool worked : {true, false}) {
    SetUp();
    listener_->Expect(kUrl);
    std::string page;
    std::thread browser(
        [&] { page = Get("/callback?code=s%2Fecret&state=abc-_123", "User-Agent: x\r\n"); });
    const auto address = listener_->Await(absl::Now() + absl::Seconds(10));
    ASSERT_TRUE(address.ok());
    EXPECT_EQ(address->Reveal(), listener_->redirect_uri() + "?code=s%2Fecret&state=abc-_123");
    listener_->Show(worked);
    browser.join();
    EXPECT_TRUE(HasStatus(page, 200)) << page;
    EXPECT_EQ(absl::StrContains(page, "You are logged in"), worked) << page;
    EXPECT_TRUE(absl::StrContains(page, "Content-Security-Policy: default-src 'none'")) << page;
    EXPECT_TRUE(absl::StrContains(page, "Referrer-Policy: no-referrer")) << page;
    EXPECT_FALSE(absl::StrContains(page, "ecret")) << page;
    EXPECT_TRUE(HasStatus(Get("/callback?code=other&state=abc-_123"), 409));
  }
}

TEST_F(RedirectListenerTest, WhatIsNotTheLoginsIsRefusedAndChangesNothing) {
  EXPECT_TRUE(HasStatus(Get("/callback?code=c&state=abc-_123"), 400))
      << "before anybody is expected";
  listener_->Expect(kUrl);
  for (const char* target : {"/", "/favicon.ico", "/callback/", "/callback2?state=abc-_123",
                             "//callback?state=abc-_123", "/x/../callback?state=abc-_123"}) {
    EXPECT_TRUE(HasStatus(Get(target), 404)) << target;
  }
  for (const char* target : {"/callback", "/callback?", "/callback?code=c",
                             "/callback?code=c&state=", "/callback?code=c&state=abc-_1234",
                             "/callback?code=c&Xstate=abc-_123", "/callback?code=c&state=abc-_12",
                             "/callback?error=e&state=<script>"}) {
    const std::string page = Get(target);
    EXPECT_TRUE(HasStatus(page, 400)) << target;
    EXPECT_FALSE(absl::StrContains(page, "<script>"));
  }
  for (const char* method : {"POST", "PUT", "HEAD", "OPTIONS", "DELETE"}) {
    EXPECT_TRUE(HasStatus(
        Send(absl::StrCat(method, " /callback?code=c&state=abc-_123 HTTP/1.1\r\nHost: ", authority_,
                          "\r\nContent-Length: 0\r\n\r\n")),
        405))
        << method;
  }
  EXPECT_TRUE(
      HasStatus(Send("GET /callback?code=c&state=abc-_123 HTTP/1.1\r\nHost: evil.example.com"
                     "\r\n\r\n"),
                404));
  EXPECT_TRUE(Untouched());
}

TEST_F(RedirectListenerTest, BearsWhatIsNoHttp) {
  listener_->Expect(kUrl);
  EXPECT_FALSE(HasStatus(Get("/callback?state=abc-_123&code=" + std::string(100'000, 'x')), 200));
  EXPECT_FALSE(
      HasStatus(Get("/callback?state=abc-_123", "A: " + std::string(100'000, 'x') + "\r\n"), 200));
  EXPECT_FALSE(HasStatus(Send("POST /callback?state=abc-_123 HTTP/1.1\r\nHost: " + authority_ +
                              "\r\nContent-Length: 1000000\r\n\r\n" + std::string(1'000'000, 'x')),
                         200));
  EXPECT_FALSE(HasStatus(Send("\x16\x03\x01\x02garbage\r\n\r\n"), 200));
  EXPECT_TRUE(Untouched());
  EXPECT_TRUE(HasStatus(Get("/nothing"), 404)) << "and is still there";
}

TEST_F(RedirectListenerTest, EndsThoughABrowserWaits) {
  listener_->Expect(kUrl);
  std::thread browser([&] { Get("/callback?code=c&state=abc-_123"); });
  ASSERT_TRUE(listener_->Await(absl::Now() + absl::Seconds(10)).ok());
  listener_.reset();
  browser.join();
}

TEST_F(RedirectListenerTest, APortThatIsTakenIsSaid) {
  const auto second = RedirectListener::Start(static_cast<uint16_t>(port_));
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(absl::StrContains(second.status().message(), absl::StrCat(port_)));
}

}  // namespace
}  // namespace keyturn::cli

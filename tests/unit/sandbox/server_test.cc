// SPDX-License-Identifier: Apache-2.0
//
// The sandbox on a real socket, seen through libcurl: each fault as a client meets it, and that the
// server ends while clients still hang on it. One test starts the program itself.
#include "tests/sandbox/server.h"

#include <curl/curl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include <absl/strings/str_cat.h>
#include <absl/synchronization/notification.h>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr size_t kBodyLimit = 1024 * 1024;
const char kCreate[] = "/console/api/apps/a/api-keys";

struct Result {
  CURLcode code = CURLE_OK;
  long status = 0;
  std::string headers;
  std::string body;
};

size_t AppendUpToLimit(char* data, size_t size, size_t count, void* target) {
  auto* text = static_cast<std::string*>(target);
  if (text->size() + size * count > kBodyLimit) return 0;  // makes libcurl give up
  text->append(data, size * count);
  return size * count;
}

// On a fresh connection each time, so that libcurl never sends a POST again by itself.
Result Call(uint16_t port, const std::string& method, const std::string& path,
            const std::string& body = "") {
  Result result;
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 &curl_easy_cleanup);
  curl_slist* headers = curl_slist_append(nullptr, "Authorization: Bearer sandbox-admin-key");
  headers = curl_slist_append(headers, "X-WORKSPACE-ID: w");
  headers = curl_slist_append(headers, "Content-Type: application/json");
  const std::string url = absl::StrCat("http://127.0.0.1:", port, path);
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 60L);
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, method.c_str());
  if (method != "GET") {
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl.get(), CURLOPT_COPYPOSTFIELDS, body.c_str());
  }
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &AppendUpToLimit);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &result.body);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, &AppendUpToLimit);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &result.headers);
  result.code = curl_easy_perform(curl.get());
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &result.status);
  curl_slist_free_all(headers);
  return result;
}

class ServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { curl_global_init(CURL_GLOBAL_DEFAULT); }

  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(SandboxOptions(), 0);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  Result Do(const std::string& method, const std::string& path, const std::string& body = "") {
    return Call(server_->port(), method, path, body);
  }
  void SetFaults(const std::string& rules) {
    const Result result = Do("PUT", "/sandbox/faults", rules);
    ASSERT_EQ(result.status, 200) << result.body;
  }
  json State() { return json::parse(Do("GET", "/sandbox/state").body); }
  size_t KeyCount() { return State().at("apps").value("a", json::array()).size(); }

  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, ServesAndKeepsEscapesInSegments) {
  EXPECT_EQ(Do("POST", "/console/api/apps/x%2Fy/api-keys").status, 201);
  EXPECT_EQ(State().at("apps").at("x/y").size(), 1u);
  EXPECT_EQ(Do("DELETE", "/console/api/apps/x/api-keys/none").status, 404);
}

TEST_F(ServerTest, LoseReplyHasTheEffectAndNoByteOfReply) {
  SetFaults(R"([{"match": {"method": "POST"}, "fault": "lose_reply"}])");
  const Result lost = Do("POST", kCreate);
  EXPECT_EQ(lost.code, CURLE_GOT_NOTHING);
  EXPECT_EQ(lost.headers, "");
  EXPECT_EQ(KeyCount(), 1u);
  EXPECT_EQ(Do("POST", kCreate).status, 201);
}

TEST_F(ServerTest, ResetBeforeHasNoEffect) {
  SetFaults(R"([{"fault": "reset_before"}])");
  EXPECT_EQ(Do("POST", kCreate).code, CURLE_GOT_NOTHING);
  EXPECT_EQ(KeyCount(), 0u);
}

TEST_F(ServerTest, LateEffectComesAfterTheConnectionClosed) {
  SetFaults(R"([{"fault": "late_effect", "delay_ms": 50}])");
  EXPECT_EQ(Do("POST", kCreate).code, CURLE_GOT_NOTHING);
  server_->WaitForLateEffects();
  EXPECT_EQ(KeyCount(), 1u);
}

TEST_F(ServerTest, PendingLateEffectDoesNotHoldUpTheEnd) {
  SetFaults(R"([{"fault": "late_effect", "delay_ms": 600000}])");
  EXPECT_EQ(Do("POST", kCreate).code, CURLE_GOT_NOTHING);
  EXPECT_EQ(KeyCount(), 0u);
  server_.reset();
}

TEST_F(ServerTest, DuplicateHappensTwiceAndAnswersOnce) {
  SetFaults(R"([{"fault": "duplicate"}])");
  const Result created = Do("POST", kCreate);
  EXPECT_EQ(created.status, 201);
  const json keys = State().at("apps").at("a");
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(json::parse(created.body).at("id"), keys.at(1).at("id"));
}

TEST_F(ServerTest, StatusAndHtmlHaveAnEffectOnlyWhenTold) {
  SetFaults(R"([{"fault": "status", "status": 429, "retry_after": 3},
                {"fault": "html_page"},
                {"fault": "html_page", "status": 502, "effect": true}])");
  // The faults hit in order, one each.
  const Result limited = Do("POST", kCreate);
  EXPECT_EQ(limited.status, 429);
  EXPECT_THAT(limited.headers, HasSubstr("Retry-After: 3\r\n"));
  const Result page = Do("POST", kCreate);
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.headers, HasSubstr("text/html"));
  EXPECT_EQ(KeyCount(), 0u);
  EXPECT_EQ(Do("POST", kCreate).status, 502);
  EXPECT_EQ(KeyCount(), 1u);
}

TEST_F(ServerTest, EndlessBodyIsEndedByTheClient) {
  SetFaults(R"([{"fault": "endless_body"}])");
  const Result endless = Do("GET", "/v1/info");
  EXPECT_EQ(endless.code, CURLE_WRITE_ERROR);
  EXPECT_EQ(endless.status, 200);
  EXPECT_GT(endless.body.size(), kBodyLimit / 2);
  EXPECT_THAT(endless.headers, HasSubstr("Transfer-Encoding: chunked"));
  // And the server goes on.
  EXPECT_EQ(Do("POST", kCreate).status, 201);
}

TEST_F(ServerTest, SlowLorisDribblesTheRealReply) {
  SetFaults(R"([{"fault": "slow_loris", "delay_ms": 1}])");
  const Result slow = Do("POST", kCreate);
  EXPECT_EQ(slow.code, CURLE_OK);
  EXPECT_EQ(json::parse(slow.body).at("token"), State().at("apps").at("a").at(0).at("token"));
}

TEST_F(ServerTest, LongBodyIsRefusedNotKept) {
  EXPECT_EQ(Do("POST", "/oauth/token", std::string(100'000, 'a')).status, 413);
}

// Tells when the head of a reply has come; the body of that reply then keeps the client waiting.
size_t NotifyAtEndOfHead(char* data, size_t size, size_t count, void* target) {
  if (size * count == 2 && data[0] == '\r') static_cast<absl::Notification*>(target)->Notify();
  return size * count;
}

TEST_F(ServerTest, EndsWhileAClientHangsOnASlowBody) {
  SetFaults(R"([{"fault": "slow_loris", "delay_ms": 600000}])");
  absl::Notification head_came;
  CURLcode code = CURLE_OK;
  std::thread client([&, port = server_->port()] {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                   &curl_easy_cleanup);
    const std::string url = absl::StrCat("http://127.0.0.1:", port, "/resource");
    curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
    curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, &NotifyAtEndOfHead);
    curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &head_came);
    code = curl_easy_perform(curl.get());
  });
  head_came.WaitForNotification();
  server_.reset();
  client.join();
  EXPECT_EQ(code, CURLE_PARTIAL_FILE);
}

TEST_F(ServerTest, PortInUseIsAnError) {
  EXPECT_EQ(Server::Start(SandboxOptions(), server_->port()).status().code(),
            absl::StatusCode::kUnavailable);
}

// Starts the program with its stdout in a pipe, which is also how to wait for it: the line comes
// when it listens, the end of file when it is gone.
TEST(ProgramTest, SaysWhereItListensAndEndsOnSigterm) {
  std::array<int, 2> out{};
  ASSERT_EQ(pipe(out.data()), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    dup2(out[1], STDOUT_FILENO);
    close(out[0]);
    close(out[1]);
    execl(KEYTURN_BIN_DIR "/keyturn-sandbox", "keyturn-sandbox", "--with-parent", "--seed", "7",
          nullptr);
    _exit(127);
  }
  close(out[1]);
  FILE* lines = fdopen(out[0], "r");
  unsigned port = 0;
  EXPECT_EQ(fscanf(lines, "listening on http://127.0.0.1:%u", &port), 1);
  EXPECT_EQ(fgetc(lines), '\n');
  EXPECT_EQ(Call(static_cast<uint16_t>(port), "GET", "/sandbox/state").status, 200);
  kill(child, SIGTERM);
  EXPECT_EQ(fgetc(lines), EOF);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  fclose(lines);
}

TEST(ProgramTest, UnreadableConfigurationIsExitCodeTwo) {
  // A directory opens like a file and fails only on reading.
  for (const char* path : {"/", "/nonexistent/file", "/dev/null"}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      execl(KEYTURN_BIN_DIR "/keyturn-sandbox", "keyturn-sandbox", "--config", path, nullptr);
      _exit(127);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << path;
    EXPECT_EQ(WEXITSTATUS(status), 2) << path;
  }
}

}  // namespace
}  // namespace keyturn::sandbox

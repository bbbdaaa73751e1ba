// SPDX-License-Identifier: Apache-2.0
//
// Dify's console as the sandbox plays it: the limit, who may call, and the times between deleting
// and dying, creating and working. Time is a number here; nothing waits.
#include "tests/sandbox/dify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

Request AsAdmin() {
  Request request;
  request.headers = {{"authorization", "Bearer sandbox-admin-key"}, {"x-workspace-id", "w"}};
  return request;
}

Request WithKey(const std::string& token) {
  Request request;
  request.headers = {{"authorization", "Bearer " + token}};
  return request;
}

class DifyTest : public ::testing::Test {
 protected:
  explicit DifyTest(DifyOptions options = {}) : dify_(std::move(options), &tokens_) {}

  json Create(const std::string& app, absl::Time now = kStart) {
    const Reply reply = dify_.Create(AsAdmin(), app, now);
    EXPECT_EQ(reply.status, 201) << reply.body;
    return json::parse(reply.body);
  }
  json List(const std::string& app) {
    const Reply reply = dify_.List(AsAdmin(), app);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body).at("data");
  }
  int InfoStatus(const std::string& token, absl::Time now) {
    return dify_.Info(WithKey(token), now).status;
  }

  TokenSource tokens_{7};
  DifyConsole dify_;
};

TEST_F(DifyTest, CreatedKeyIsListedWithItsTokenAndWorks) {
  const json key = Create("a");
  const std::string token = key.at("token");
  EXPECT_THAT(token, StartsWith("app-canary"));
  EXPECT_EQ(token.size(), std::string("app-").size() + 24);
  EXPECT_EQ(key.at("created_at"), absl::ToUnixSeconds(kStart));
  EXPECT_TRUE(key.at("last_used_at").is_null());
  EXPECT_EQ(List("a"), json::array({key}));

  EXPECT_EQ(InfoStatus(token, kStart + absl::Seconds(5)), 200);
  EXPECT_EQ(List("a").at(0).at("last_used_at"), absl::ToUnixSeconds(kStart) + 5);
}

TEST_F(DifyTest, AppsDoNotShareKeys) {
  const json key = Create("a");
  EXPECT_TRUE(List("b").empty());
  const std::string id = key.at("id");
  EXPECT_EQ(dify_.Delete(AsAdmin(), "b", id, kStart).status, 404);
  EXPECT_EQ(List("a").size(), 1u);
}

TEST_F(DifyTest, EleventhKeyIsRefusedUntilOneIsDeleted) {
  std::string first;
  for (int i = 0; i < 10; ++i) {
    const std::string id = Create("a").at("id");
    if (i == 0) first = id;
  }
  const Reply refused = dify_.Create(AsAdmin(), "a", kStart);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(json::parse(refused.body).at("message"),
            "Cannot create more than 10 API keys for this resource type.");
  EXPECT_EQ(List("a").size(), 10u);
  Create("b");

  EXPECT_EQ(dify_.Delete(AsAdmin(), "a", first, kStart).status, 204);
  Create("a");
}

TEST_F(DifyTest, DeletedKeyIsGoneAtOnceWithoutLag) {
  const json key = Create("a");
  const std::string id = key.at("id");
  EXPECT_EQ(dify_.Delete(AsAdmin(), "a", id, kStart).status, 204);
  EXPECT_TRUE(List("a").empty());
  const Reply info = dify_.Info(WithKey(key.at("token")), kStart);
  EXPECT_EQ(info.status, 401);
  EXPECT_EQ(
      json::parse(info.body),
      json({{"code", "unauthorized"}, {"message", "Access token is invalid"}, {"status", 401}}));
  const Reply again = dify_.Delete(AsAdmin(), "a", id, kStart);
  EXPECT_EQ(again.status, 404);
  EXPECT_THAT(again.body, HasSubstr("API key not found"));
}

TEST_F(DifyTest, ManagerMustShowKeyAndWorkspaceAndNoSessionCookie) {
  Create("a");
  Request wrong_key = AsAdmin();
  wrong_key.headers["authorization"] = "Bearer other";
  Request no_workspace = AsAdmin();
  no_workspace.headers.erase("x-workspace-id");
  Request cookie = AsAdmin();
  cookie.headers["cookie"] = "a=b; access_token=x";
  for (const Request& request : {Request{}, wrong_key, no_workspace, cookie}) {
    EXPECT_EQ(dify_.List(request, "a").status, 401);
    EXPECT_EQ(dify_.Create(request, "a", kStart).status, 401);
    EXPECT_EQ(
        dify_.Delete(request, "a", List("a").at(0).at("id").get<std::string>(), kStart).status,
        401);
  }
  EXPECT_EQ(List("a").size(), 1u);
}

TEST_F(DifyTest, AcceptsLeavesNoTrace) {
  const std::string token = Create("a").at("token");
  EXPECT_TRUE(dify_.Accepts(token, kStart));
  EXPECT_FALSE(dify_.Accepts(token + "x", kStart));
  EXPECT_TRUE(List("a").at(0).at("last_used_at").is_null());
}

class LaggingDifyTest : public DifyTest {
 protected:
  LaggingDifyTest()
      : DifyTest({.admin_key = "sandbox-admin-key",
                  .workspace_id = "",
                  .max_keys_per_app = 1,
                  .delete_lag = absl::Seconds(600),
                  .propagation_delay = absl::Seconds(3)}) {}
};

TEST_F(LaggingDifyTest, NewKeyWorksOnlyAfterItsPropagation) {
  const std::string token = Create("a").at("token");
  EXPECT_EQ(InfoStatus(token, kStart + absl::Milliseconds(2999)), 401);
  EXPECT_EQ(InfoStatus(token, kStart + absl::Seconds(3)), 200);
}

TEST_F(LaggingDifyTest, DeletedKeyIsUnlistedButWorksUntilTheLagIsOver) {
  const json key = Create("a");
  const std::string token = key.at("token");
  const absl::Time deleted = kStart + absl::Seconds(100);
  const std::string id = key.at("id");
  ASSERT_EQ(dify_.Delete(AsAdmin(), "a", id, deleted).status, 204);
  EXPECT_TRUE(List("a").empty());
  EXPECT_TRUE(dify_.Snapshot().at("a").empty());
  EXPECT_EQ(InfoStatus(token, deleted + absl::Milliseconds(599'999)), 200);
  EXPECT_EQ(InfoStatus(token, deleted + absl::Seconds(600)), 401);
  // It no longer counts towards the limit of one, though it still works.
  Create("a", deleted);
}

}  // namespace
}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
//
// The sandbox without a network: routes, counters, test controls, and what a reset cuts off.
#include "tests/sandbox/service.h"

#include <gtest/gtest.h>

#include <string>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

using nlohmann::json;

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

Request Make(const std::string& method, const std::string& path, const std::string& body = "") {
  Request request;
  request.method = method;
  request.path = path;
  request.body = body;
  request.headers = {{"authorization", "Bearer sandbox-admin-key"}, {"x-workspace-id", "w"}};
  return request;
}

class ServiceTest : public ::testing::Test {
 protected:
  Reply Do(const std::string& method, const std::string& path, const std::string& body = "") {
    return service_.Perform(Make(method, path, body), kStart);
  }
  json State() { return json::parse(Do("GET", "/sandbox/state").body); }

  Service service_{SandboxOptions()};
};

TEST_F(ServiceTest, RoutesTheConsoleAndDecodesSegments) {
  const Reply created = Do("POST", "/console/api/apps/a%2Fb/api-keys");
  ASSERT_EQ(created.status, 201) << created.body;
  const json key = json::parse(created.body);
  EXPECT_EQ(State().at("apps").at("a/b").at(0).at("token"), key.at("token"));
  EXPECT_EQ(Do("GET", "/console/api/apps/a%2fb/api-keys").status, 200);
  const std::string item = "/console/api/apps/a%2Fb/api-keys/" + key.at("id").get<std::string>();
  EXPECT_EQ(Do("GET", item).status, 405);
  EXPECT_EQ(Do("DELETE", item).status, 204);
  EXPECT_EQ(Do("GET", "/console/api/apps/a/b/api-keys").status, 404);
  EXPECT_EQ(Do("GET", "/console/api/apps//api-keys").status, 404);
  EXPECT_EQ(Do("GET", "/console/api/apps/%zz/api-keys").status, 404);
  EXPECT_EQ(Do("PUT", "/console/api/apps/a/api-keys").status, 405);
  EXPECT_EQ(Do("GET", "/oauth/token").status, 405);
  EXPECT_EQ(Do("GET", "/").status, 404);
}

TEST_F(ServiceTest, CountsByTemplateAndNeverItsOwnControls) {
  for (const char* app : {"a", "b"}) {
    service_.Admit(Make("POST", std::string("/console/api/apps/") + app + "/api-keys"));
  }
  service_.Admit(Make("DELETE", "/console/api/apps/a/api-keys/1"));
  service_.Admit(Make("BREW", "/oauth/token"));
  service_.Admit(Make("GET", "/elsewhere"));
  service_.Admit(Make("GET", "/sandbox/state"));
  EXPECT_EQ(State().at("requests"),
            json({{"POST /console/api/apps/{app_id}/api-keys", 2},
                  {"DELETE /console/api/apps/{app_id}/api-keys/{key_id}", 1},
                  {"unmatched", 2}}));
}

TEST_F(ServiceTest, FaultsAreSetAndClearedAndSpareTheControls) {
  ASSERT_EQ(Do("PUT", "/sandbox/faults", R"([{"fault": "reset_before", "count": -1}])").status,
            200);
  EXPECT_TRUE(service_.Admit(Make("GET", "/resource")).fault.has_value());
  EXPECT_FALSE(service_.Admit(Make("DELETE", "/sandbox/faults")).fault.has_value());
  EXPECT_EQ(Do("PUT", "/sandbox/faults", R"([{"fault": "nonsense"}])").status, 400);
  EXPECT_EQ(Do("PUT", "/sandbox/faults", "[").status, 400);
  EXPECT_TRUE(service_.Admit(Make("GET", "/resource")).fault.has_value());
  ASSERT_EQ(Do("DELETE", "/sandbox/faults").status, 200);
  EXPECT_FALSE(service_.Admit(Make("GET", "/resource")).fault.has_value());
}

TEST_F(ServiceTest, CheckKnowsEachKindOfToken) {
  const auto check = [&](const std::string& token) {
    return json::parse(Do("POST", "/sandbox/check", json({{"token", token}}).dump()).body);
  };
  const std::string app_key =
      json::parse(Do("POST", "/console/api/apps/a/api-keys").body).at("token");
  EXPECT_EQ(check(app_key), json({{"valid", true}, {"kind", "app_key"}}));
  const Reply grant = Do("POST", "/sandbox/oauth/grant", R"({"client_id": "sandbox-client"})");
  ASSERT_EQ(grant.status, 200) << grant.body;
  EXPECT_EQ(check(json::parse(grant.body).at("refresh_token")),
            json({{"valid", true}, {"kind", "refresh_token"}}));
  EXPECT_EQ(check("app-canary"), json({{"valid", false}, {"kind", "none"}}));
  EXPECT_EQ(Do("POST", "/sandbox/check", "{}").status, 400);
  EXPECT_EQ(Do("POST", "/sandbox/oauth/grant", R"({"client_id": "x"})").status, 400);
}

TEST_F(ServiceTest, ResetCutsOffLateEffectsAndNeverReissuesTokens) {
  const Request create = Make("POST", "/console/api/apps/a/api-keys");
  const uint64_t before = service_.Admit(create).epoch;
  const std::string first = json::parse(service_.Perform(create, kStart).body).at("token");
  service_.PerformLate(create, before, kStart);
  EXPECT_EQ(State().at("apps").at("a").size(), 2u);

  ASSERT_EQ(Do("POST", "/sandbox/reset").status, 200);
  EXPECT_TRUE(State().at("apps").empty());
  EXPECT_TRUE(State().at("requests").empty());
  service_.PerformLate(create, before, kStart);
  EXPECT_TRUE(State().at("apps").empty());
  EXPECT_NE(json::parse(service_.Perform(create, kStart).body).at("token"), first);
}

TEST_F(ServiceTest, BytesThatAreNotTextDoNotStopIt) {
  EXPECT_EQ(Do("POST", "/console/api/apps/%ff%fe/api-keys").status, 201);
  EXPECT_EQ(Do("GET", "/sandbox/state").status, 200);
}

}  // namespace
}  // namespace keyturn::sandbox

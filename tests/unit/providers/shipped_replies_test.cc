// SPDX-License-Identifier: Apache-2.0
// What each shipped recipe makes of replies as the real service gives them: one row is one reply
// and its outcome. Whole exchanges are tested over HTTP in tests/integration/recipes_test.py; the
// rows here are the replies that are easily misread.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/providers/recipe/recipe_registry.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::providers {
namespace {

using fakes::ScriptedHttpClient;

enum class Call { kCreate, kList, kVerify, kRevoke };

struct Row {
  const char* recipe;
  Call call;
  int status;
  const char* body;
  Outcome outcome;
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.recipe << " " << row.status << " " << row.body;
}

using Params = std::map<std::string, std::string>;

const std::map<std::string, Params>& ParamsByRecipe() {
  constexpr char kUuid[] = "00001111-aaaa-2222-bbbb-3333cccc4444";
  static const auto& params = *new std::map<std::string, Params>{
      {"aws-iam", {{"user_name", "ci"}}},
      {"azure-app-secret", {{"tenant_id", kUuid}, {"object_id", kUuid}, {"client_id", kUuid}}},
      {"azure-openai",
       {{"subscription_id", kUuid},
        {"resource_group", "ml"},
        {"account", "contoso"},
        {"account_endpoint", "https://contoso.example.com"}}},
      {"cloudflare-token", {{"policies", "[]"}}},
      {"cloudflare-token-roll", {{"token_id", "ed17"}}},
      {"dify-dataset-key", {{"workspace_id", "77ab"}}},
      {"gcp-service-account-key", {{"email", "app@acme.iam.gserviceaccount.com"}}},
      {"gemini", {{"project", "acme"}}},
      {"github-app", {{"app_id", "1"}, {"installation_id", "2"}}},
      {"gitlab-token-roll", {{"project", "42"}, {"token_name", "deploy"}}},
      {"new-api", {{"user_id", "1"}}},
      {"openai-service-account", {{"project_id", "proj_1"}}},
  };
  return params;
}

// One value that has every field a recipe of ours asks for.
base::CredentialValue AnyValue() {
  base::CredentialValue value;
  for (const char* name :
       {"value", "access_key_id", "secret_access_key", "api_key", "application_key"}) {
    value.fields.push_back({name, base::Secret("AKIA0123456789ABCDEF"), true});
  }
  value.primary = "value";
  return value;
}

constexpr char kHtml[] = "<!doctype html><title>Sign in</title>";
constexpr char kOpenAi401[] =
    R"({"error":{"message":"Incorrect API key provided","type":"invalid_request_error",)"
    R"("param":null,"code":"invalid_api_key"}})";
constexpr char kOpenAi429[] =
    R"({"error":{"message":"You exceeded your current quota","type":"insufficient_quota",)"
    R"("param":null,"code":"insufficient_quota"}})";
constexpr char kGoogleInvalid[] =
    R"({"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":)"
    R"([{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}})";
constexpr char kGoogleBlocked[] =
    R"({"error":{"code":403,"message":"Requests are blocked.","status":"PERMISSION_DENIED",)"
    R"("details":[{"reason":"API_KEY_SERVICE_BLOCKED"}]}})";
constexpr char kAwsToken[] =
    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code>"
    "<Message>The security token included in the request is invalid.</Message></Error>"
    "<RequestId>1</RequestId></ErrorResponse>";
constexpr char kAwsLimit[] =
    "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>"
    "<Code>LimitExceeded</Code><Message>Cannot exceed quota</Message></Error></ErrorResponse>";
constexpr char kAwsDenied[] =
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
constexpr char kAwsGone[] =
    "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>no</Message></Error></ErrorResponse>";
constexpr char kAwsThrottled[] =
    "<ErrorResponse><Error><Code>Throttling</Code><Message>no</Message></Error></ErrorResponse>";
constexpr char kAwsNoKeys[] =
    "<ListAccessKeysResponse><ListAccessKeysResult><UserName>ci</UserName><AccessKeyMetadata/>"
    "<IsTruncated>false</IsTruncated></ListAccessKeysResult></ListAccessKeysResponse>";
constexpr char kAwsMoreKeys[] =
    "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata/>"
    "<IsTruncated>true</IsTruncated></ListAccessKeysResult></ListAccessKeysResponse>";
constexpr char kAzureWrong[] =
    R"({"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret"})";
constexpr char kAzureOtherApp[] =
    R"({"error":"unauthorized_client","error_description":"AADSTS700016: Application not found"})";

const std::vector<Row>& Rows() {
  static const auto& rows = *new std::vector<Row>{
      // A 5xx or a page of somebody else is never a refusal, and never a dead key.
      {"anthropic", Call::kVerify, 401,
       R"({"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}})",
       Outcome::kRejected},
      {"anthropic", Call::kVerify, 401, kHtml, Outcome::kTransient},
      {"anthropic", Call::kVerify, 403,
       R"({"type":"error","error":{"type":"permission_error","message":"no"}})", Outcome::kOk},
      {"anthropic", Call::kVerify, 529,
       R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})",
       Outcome::kTransient},

      {"aws-iam", Call::kCreate, 409, kAwsLimit, Outcome::kLimited},
      {"aws-iam", Call::kCreate, 403, kAwsDenied, Outcome::kRejected},
      {"aws-iam", Call::kCreate, 400, kAwsThrottled, Outcome::kTransient},
      {"aws-iam", Call::kCreate, 500, "", Outcome::kUnknown},
      {"aws-iam", Call::kCreate, 200, "<CreateAccessKeyResponse/>", Outcome::kUnknown},
      {"aws-iam", Call::kList, 200, kAwsNoKeys, Outcome::kOk},
      {"aws-iam", Call::kList, 200, kAwsMoreKeys, Outcome::kTransient},
      {"aws-iam", Call::kList, 403, kAwsDenied, Outcome::kRejected},
      {"aws-iam", Call::kVerify, 403, kAwsToken, Outcome::kRejected},
      {"aws-iam", Call::kVerify, 403, kHtml, Outcome::kTransient},
      {"aws-iam", Call::kRevoke, 404, kAwsGone, Outcome::kOk},
      {"aws-iam", Call::kRevoke, 400, kAwsThrottled, Outcome::kTransient},

      {"azure-app-secret", Call::kVerify, 401, kAzureWrong, Outcome::kRejected},
      {"azure-app-secret", Call::kVerify, 400, kAzureOtherApp, Outcome::kTransient},
      {"azure-app-secret", Call::kRevoke, 400,
       R"({"error":{"code":"Request_BadRequest","message":"No password credential found with )"
       R"(keyId 'k'."}})",
       Outcome::kOk},
      {"azure-app-secret", Call::kRevoke, 400,
       R"({"error":{"code":"Request_BadRequest","message":"Invalid value"}})", Outcome::kRejected},
      {"azure-app-secret", Call::kList, 200, R"({"id":"x","passwordCredentials":[]})",
       Outcome::kOk},
      {"azure-app-secret", Call::kList, 200, R"({"id":"x"})", Outcome::kTransient},

      {"azure-openai", Call::kList, 200, R"({"key1":"0123456789abcdef0123456789abcdef"})",
       Outcome::kTransient},
      {"azure-openai", Call::kVerify, 401, R"({"error":{"code":"401","message":"Access denied"}})",
       Outcome::kRejected},
      {"azure-openai", Call::kVerify, 429, R"({"error":{"code":"429","message":"slow down"}})",
       Outcome::kTransient},

      {"cloudflare-token", Call::kCreate, 400,
       R"({"success":false,"errors":[{"code":1001}],"result":null})", Outcome::kRejected},
      {"cloudflare-token", Call::kCreate, 403, kHtml, Outcome::kUnknown},
      {"cloudflare-token", Call::kList, 200, R"({"success":false,"result":[]})",
       Outcome::kTransient},
      {"cloudflare-token", Call::kVerify, 200,
       R"({"success":true,"result":{"id":"1","status":"active"}})", Outcome::kOk},
      {"cloudflare-token", Call::kVerify, 200,
       R"({"success":true,"result":{"id":"1","status":"disabled"}})", Outcome::kRejected},
      {"cloudflare-token", Call::kVerify, 401,
       R"({"success":false,"errors":[{"code":1000,"message":"Invalid API Token"}]})",
       Outcome::kRejected},
      {"cloudflare-token-roll", Call::kVerify, 503, kHtml, Outcome::kTransient},

      // Here 403 is what a dead key gets.
      {"datadog", Call::kVerify, 403, R"({"errors":["Forbidden"]})", Outcome::kRejected},
      {"datadog", Call::kVerify, 403, kHtml, Outcome::kTransient},
      {"datadog", Call::kVerify, 200, R"({"valid":false})", Outcome::kRejected},
      {"datadog", Call::kRevoke, 404, R"({"errors":["API key not found"]})", Outcome::kOk},

      {"deepseek", Call::kVerify, 402, R"({"error":{"message":"Insufficient Balance"}})",
       Outcome::kOk},
      {"deepseek", Call::kVerify, 401, R"({"error":{"message":"Authentication Fails"}})",
       Outcome::kRejected},
      {"deepseek", Call::kVerify, 401, "", Outcome::kTransient},

      {"dify-dataset-key", Call::kCreate, 400,
       R"({"code":"max_keys_exceeded","message":)"
       R"("Cannot create more than 10 API keys for this resource type."})",
       Outcome::kLimited},
      {"dify-dataset-key", Call::kList, 200, kHtml, Outcome::kTransient},
      {"dify-dataset-key", Call::kVerify, 403, "", Outcome::kOk},

      {"gemini", Call::kVerify, 400, kGoogleInvalid, Outcome::kRejected},
      {"gemini", Call::kVerify, 400,
       R"({"error":{"code":400,"message":"Bad page token","status":"INVALID_ARGUMENT"}})",
       Outcome::kTransient},
      {"gemini", Call::kVerify, 403, kGoogleBlocked, Outcome::kOk},

      {"github-app", Call::kVerify, 401, R"({"message":"Bad credentials"})", Outcome::kRejected},
      {"github-app", Call::kVerify, 403, R"({"message":"API rate limit exceeded"})", Outcome::kOk},
      {"github-app", Call::kRevoke, 401, R"({"message":"Bad credentials"})", Outcome::kOk},
      {"github-app", Call::kRevoke, 401, kHtml, Outcome::kUnknown},

      {"gitlab-token-self", Call::kVerify, 200, R"({"id":1,"active":true,"revoked":false})",
       Outcome::kOk},
      {"gitlab-token-self", Call::kVerify, 200, R"({"id":1,"active":false,"revoked":true})",
       Outcome::kRejected},
      {"gitlab-token-self", Call::kVerify, 401, R"({"message":"401 Unauthorized"})",
       Outcome::kRejected},
      {"gitlab-token-self", Call::kVerify, 200, kHtml, Outcome::kTransient},

      {"holysheep", Call::kVerify, 401, kOpenAi401, Outcome::kRejected},
      {"holysheep", Call::kVerify, 429, kOpenAi429, Outcome::kOk},

      {"litellm", Call::kCreate, 400, R"({"error":{"message":"Key with alias exists"}})",
       Outcome::kRejected},
      {"litellm", Call::kCreate, 500, R"({"error":{"message":"db"}})", Outcome::kUnknown},
      {"litellm", Call::kVerify, 400,
       R"({"error":{"message":"Budget has been exceeded!","type":"budget_exceeded"}})",
       Outcome::kOk},
      {"litellm", Call::kVerify, 429, R"({"error":{"message":"slow down"}})", Outcome::kTransient},
      {"litellm", Call::kRevoke, 404, R"({"error":{"message":"No matching keys"}})", Outcome::kOk},

      {"new-api", Call::kCreate, 200, R"({"success":false,"message":"too many"})",
       Outcome::kRejected},
      {"new-api", Call::kCreate, 429, "", Outcome::kTransient},
      // Each request gets this answer, also those that look for the key: it is made, but not seen.
      {"new-api", Call::kCreate, 200, R"({"success":true,"message":""})", Outcome::kUnknown},
      {"one-api", Call::kCreate, 200, R"({"success":false,"message":"x"})", Outcome::kRejected},
      {"one-api", Call::kCreate, 200, kHtml, Outcome::kUnknown},
      {"one-api", Call::kList, 200, R"({"success":false,"message":"x"})", Outcome::kRejected},
      {"one-api", Call::kList, 200, R"({"success":true,"data":[]})", Outcome::kOk},
      {"one-api", Call::kVerify, 401, R"({"error":{"type":"one_api_error","message":"x"}})",
       Outcome::kRejected},
      {"one-api", Call::kVerify, 401, "", Outcome::kTransient},
      {"one-api", Call::kRevoke, 200, R"({"success":false,"message":"record not found"})",
       Outcome::kOk},
      {"one-api", Call::kRevoke, 200, R"({"success":false,"message":"x"})", Outcome::kRejected},

      {"openai-admin-key", Call::kVerify, 401, kOpenAi401, Outcome::kRejected},
      {"openai-service-account", Call::kVerify, 401, kOpenAi401, Outcome::kRejected},
      {"openai-service-account", Call::kVerify, 429, kOpenAi429, Outcome::kOk},
      {"openai-service-account", Call::kVerify, 429,
       R"({"error":{"message":"slow down","code":"rate_limit_exceeded"}})", Outcome::kTransient},
      {"openai-service-account", Call::kVerify, 401, kHtml, Outcome::kTransient},
      {"openai-service-account", Call::kCreate, 401, kHtml, Outcome::kUnknown},
      {"openai-service-account", Call::kRevoke, 500, kOpenAi401, Outcome::kUnknown},
      {"openai-service-account", Call::kList, 200,
       R"({"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false})",
       Outcome::kOk},

      {"openrouter", Call::kVerify, 402, R"({"error":{"code":402,"message":"credits"}})",
       Outcome::kOk},
      {"openrouter", Call::kRevoke, 404, R"({"error":{"code":404,"message":"gone"}})",
       Outcome::kOk},

      {"sendgrid", Call::kCreate, 403,
       R"({"errors":[{"field":null,"message":"Cannot create more than 100 API Keys"}]})",
       Outcome::kLimited},
      {"sendgrid", Call::kCreate, 403,
       R"({"errors":[{"field":null,"message":"access forbidden"}]})", Outcome::kRejected},
      {"sendgrid", Call::kVerify, 403,
       R"({"errors":[{"field":null,"message":"access forbidden"}]})", Outcome::kOk},
      {"sendgrid", Call::kVerify, 401,
       R"({"errors":[{"field":null,"message":"authorization required"}]})", Outcome::kRejected},
  };
  return rows;
}

// Reading all recipes takes a while, so all rows share them.
struct World {
  World() {
    RecipeRegistry::Options options;
    options.directories = {absl::StrCat(KEYTURN_SOURCE_DIR, "/agent/providers/recipes")};
    options.egress = net::EgressRules::Create({}, {}).value();
    registry = RecipeRegistry::Load(std::move(options), http, clock);
  }

  fakes::SimulatedClock clock;
  fakes::SimulatedExecutor executor{clock};
  ScriptedHttpClient http{clock, executor};
  absl::StatusOr<std::unique_ptr<RecipeRegistry>> registry = nullptr;
};

class ShippedRepliesTest : public testing::TestWithParam<Row> {
 protected:
  static void SetUpTestSuite() { world_ = std::make_unique<World>(); }
  static void TearDownTestSuite() { world_.reset(); }

  void SetUp() override {
    ASSERT_TRUE(world_->registry.ok()) << world_->registry.status();
    ProviderConfig config;
    config.name = "p";
    config.recipe = GetParam().recipe;
    config.endpoint = "https://service.example.com";
    config.manager = "m";
    if (const auto found = ParamsByRecipe().find(config.recipe); found != ParamsByRecipe().end()) {
      config.params = found->second;
    }
    auto provider = (*world_->registry)->Make(config);
    ASSERT_TRUE(provider.ok()) << provider.status();
    provider_ = *std::move(provider);
    world_->http.ClearRequests();
  }

  Outcome Ask(Call call) {
    std::optional<Outcome> outcome;
    const auto done = [&](const CallResult& result) { outcome = result.outcome; };
    switch (call) {
      case Call::kCreate: {
        NewKey key;
        key.tag = "kt-a-b-1";
        key.current = AnyValue();
        provider_->Create(AnyValue(), key,
                          [&](const CallResult& result, const auto&) { outcome = result.outcome; });
        break;
      }
      case Call::kList:
        provider_->List(AnyValue(),
                        [&](const CallResult& result, const auto&) { outcome = result.outcome; });
        break;
      case Call::kVerify:
        provider_->Verify(AnyValue(), done);
        break;
      case Call::kRevoke:
        provider_->Revoke(AnyValue(), "k1", AnyValue(), done);
        break;
    }
    world_->executor.AdvanceBy(absl::Minutes(10));
    EXPECT_TRUE(outcome.has_value()) << "no answer";
    return outcome.value_or(Outcome::kUnknown);
  }

  static std::unique_ptr<World> world_;
  std::shared_ptr<Provider> provider_;
};

std::unique_ptr<World> ShippedRepliesTest::world_;

TEST_P(ShippedRepliesTest, MeansWhatItMeans) {
  const Row& row = GetParam();
  world_->http.SetHandler(
      [&](const auto&) { return ScriptedHttpClient::Reply(row.status, row.body); });
  EXPECT_EQ(Ask(row.call), row.outcome);
  EXPECT_FALSE(world_->http.requests().empty()) << "nothing was asked";
}

INSTANTIATE_TEST_SUITE_P(Rows, ShippedRepliesTest, testing::ValuesIn(Rows()));

}  // namespace
}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// Every kind of reply to every call, and what it must lead to; hostile replies among them.
#include "agent/providers/recipe/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/providers/recipe/reply.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::providers {
namespace {

using fakes::ScriptedHttpClient;
using net::Delivery;

constexpr char kYaml[] = R"(recipe: r
class: tagged
params: { org: {} }
manager_fields: [user]
value: { prefix: sk-, min_length: 6, max_length: 64 }
headers: { X-Admin: "{manager}" }
create:
  path: /keys
  json: { name: "{tag}", by: "{manager.user}" }
  extract: { id: /id, value: /secret }
  outcomes:
    - { status: [2xx], match: [ { at: /success, equals: "true" } ], is: ok }
    - { status: [2xx], match: [ { at: /success, equals: "false" }, { at: /message, contains: full } ], is: limited }
    - { status: ["200"], match: [ { at: /success, equals: "false" } ], is: rejected }
    - { status: ["400"], match: [ { contains: too many keys } ], is: limited }
    - { status: ["400", "401", "403"], is: rejected }
    - { status: ["503"], is: transient }
list:
  path: /keys
  query: { limit: "2" }
  paging: { query: after, next: /next }
  extract: { items: /keys, id: /id, tag: /name }
  outcomes:
    - { status: ["200"], is: ok }
    - { status: ["401"], is: rejected }
verify:
  path: /me
  headers: { X-Admin: "", Authorization: "Bearer {key}" }
  outcomes:
    - { status: ["200"], match: [ { at: /name, exists: true } ], is: ok }
    - { status: ["200"], match: [ { at: /name, exists: false } ], is: rejected }
    - { status: ["401"], is: rejected }
revoke:
  path: /keys/{key.id}
  outcomes:
    - { status: [2xx], is: ok }
    - { status: ["403"], is: rejected }
)";

constexpr char kMinted[] = R"({"success":true,"id":7,"secret":"sk-abcdef"})";

net::HttpResult Reply(int status, const std::string& body) {
  return ScriptedHttpClient::Reply(status, body);
}

class RunnerTest : public testing::Test {
 protected:
  RunnerTest() {
    RecipeProvider::Setup setup;
    setup.recipe = ReadRecipe(kYaml, "r.yaml").value();
    setup.traits = setup.recipe->traits;
    setup.endpoint = "https://api.example.com/v1";
    setup.params = {{"org", "o"}};
    provider_ = std::make_unique<RecipeProvider>(setup, http_, clock_);
    manager_.fields.push_back({"user", base::Secret("me"), false});
  }

  void Answer(net::HttpResult result) {
    auto shared = std::make_shared<net::HttpResult>(std::move(result));
    http_.SetHandler([shared](const auto&) { return *shared; });
  }
  CallResult Create() {
    std::optional<CallResult> got;
    minted_.reset();
    NewKey key;
    key.tag = "kt-a-1";
    provider_->Create(manager_, key, [&](CallResult r, std::optional<MintedKey> m) {
      got = r;
      minted_ = std::move(m);
    });
    EXPECT_FALSE(got.has_value()) << "answered from within the call";
    executor_.AdvanceBy(absl::Seconds(1));
    EXPECT_TRUE(got.has_value());
    EXPECT_EQ(minted_.has_value(), got->outcome == Outcome::kOk);
    return got.value_or(CallResult());
  }
  CallResult List() {
    std::optional<CallResult> got;
    provider_->List(manager_, [&](CallResult r, std::vector<ListedKey> keys) {
      got = r;
      listed_ = std::move(keys);
    });
    executor_.AdvanceBy(absl::Seconds(10));
    EXPECT_TRUE(got.has_value());
    return got.value_or(CallResult());
  }
  CallResult Verify(const std::string& key = "sk-abcdef") {
    std::optional<CallResult> got;
    provider_->Verify(base::CredentialValue::Of(base::Secret(key)), [&](CallResult r) { got = r; });
    executor_.AdvanceBy(absl::Seconds(1));
    EXPECT_TRUE(got.has_value());
    return got.value_or(CallResult());
  }
  CallResult Revoke(const std::string& id = "7") {
    std::optional<CallResult> got;
    provider_->Revoke(manager_, id, {}, [&](CallResult r) { got = r; });
    executor_.AdvanceBy(absl::Seconds(1));
    EXPECT_TRUE(got.has_value());
    return got.value_or(CallResult());
  }

  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor executor_{clock_};
  ScriptedHttpClient http_{clock_, executor_};
  std::unique_ptr<RecipeProvider> provider_;
  base::CredentialValue manager_ = base::CredentialValue::Of(base::Secret("adm1n"));
  std::optional<MintedKey> minted_;
  std::vector<ListedKey> listed_;
};

TEST_F(RunnerTest, SendsWhatTheRecipeSays) {
  Answer(Reply(201, kMinted));
  EXPECT_EQ(Create().outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "7");
  EXPECT_EQ(minted_->value.Primary()->Reveal(), "sk-abcdef");
  const auto& create = http_.requests()[0];
  EXPECT_EQ(create.method, "POST");
  EXPECT_EQ(create.url, "https://api.example.com/v1/keys");
  EXPECT_EQ(create.body, R"({"by":"me","name":"kt-a-1"})");
  EXPECT_EQ(create.Header("X-Admin"), "adm1n");
  EXPECT_EQ(create.Header("Content-Type"), "application/json");
  EXPECT_TRUE(create.fresh_connection);
  Revoke("a/b");
  EXPECT_EQ(http_.requests()[1].method, "DELETE");
  EXPECT_EQ(http_.requests()[1].url, "https://api.example.com/v1/keys/a%2Fb");
  EXPECT_TRUE(http_.requests()[1].fresh_connection);
  Verify();
  EXPECT_EQ(http_.requests()[2].Header("Authorization"), "Bearer sk-abcdef");
  // The key is tried without the manager.
  EXPECT_EQ(http_.requests()[2].headers.size(), 1U);
}

TEST_F(RunnerTest, CreateOutcomes) {
  const std::string deep = std::string(40, '[') + std::string(40, ']');
  const struct {
    int status;
    std::string body;
    Outcome expected;
  } cases[] = {
      {200, kMinted, Outcome::kOk},
      {299, kMinted, Outcome::kOk},
      {200, R"({"success":true,"id":"x","secret":"sk-abcdef"})", Outcome::kOk},
      // The key may be there, and nobody can say which it is.
      {200, R"({"success":true,"id":7})", Outcome::kUnknown},
      {200, R"({"success":true,"secret":"sk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":null,"secret":"sk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":"","secret":"sk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":[7],"secret":"sk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":1.5,"secret":"sk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":"a b","secret":"sk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":"a\nb","secret":"sk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":")" + std::string(257, 'i') + R"(","secret":"sk-abcdef"})",
       Outcome::kUnknown},
      {200, R"({"success":true,"id":7,"secret":"pk-abcdef"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":7,"secret":"sk-"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":7,"secret":"sk-)" + std::string(70, 'x') + R"("})",
       Outcome::kUnknown},
      {200, R"({"success":true,"id":7,"secret":"sk-a\r\nX-Evil: 1"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":7,"secret":"sk-\u00fcabcd"})", Outcome::kUnknown},
      {200, R"({"success":true,"id":7,"secret":{"a":1}})", Outcome::kUnknown},
      {200, R"({"success":false,"message":"quota full"})", Outcome::kLimited},
      {200, R"({"success":false,"message":"no"})", Outcome::kRejected},
      {201, R"({"success":false,"message":"no"})", Outcome::kUnknown},
      {200, "", Outcome::kUnknown},
      {200, "<html>Welcome</html>", Outcome::kUnknown},
      {200, R"({"success":true,"id":7,"secret":"sk-abc)", Outcome::kUnknown},
      {200, deep, Outcome::kUnknown},
      {200, std::string(100'000, '['), Outcome::kUnknown},
      {200, "null", Outcome::kUnknown},
      {200, "\xff\xfe", Outcome::kUnknown},
      {302, "", Outcome::kUnknown},
      {400, "there are too many keys", Outcome::kLimited},
      {400, "bad name", Outcome::kRejected},
      {401, "", Outcome::kRejected},
      {403, "<html>blocked</html>", Outcome::kRejected},
      {404, "", Outcome::kUnknown},
      {409, "{}", Outcome::kUnknown},
      {429, "", Outcome::kTransient},
      {500, "", Outcome::kUnknown},
      {502, "<html>", Outcome::kUnknown},
      {503, "", Outcome::kTransient},
      {504, "", Outcome::kUnknown},
      {0, "", Outcome::kUnknown},
  };
  for (const auto& c : cases) {
    Answer(Reply(c.status, c.body));
    const CallResult result = Create();
    EXPECT_EQ(result.outcome, c.expected) << c.status << " " << c.body.substr(0, 80);
    EXPECT_EQ(result.http_status, c.status);
    EXPECT_THAT(result.cause, testing::Not(testing::HasSubstr("no"))) << "text of the remote side";
  }
}

TEST_F(RunnerTest, OtherOutcomes) {
  const struct {
    int status;
    const char* body;
    Outcome list, verify, revoke;
  } cases[] = {
      {200, R"({"keys":[],"name":"n"})", Outcome::kOk, Outcome::kOk, Outcome::kOk},
      {200, "{}", Outcome::kTransient, Outcome::kRejected, Outcome::kOk},
      {200, R"({"keys":{"id":1}})", Outcome::kTransient, Outcome::kRejected, Outcome::kOk},
      {200, R"({"keys":[{"id":1},{}]})", Outcome::kTransient, Outcome::kRejected, Outcome::kOk},
      {204, "", Outcome::kTransient, Outcome::kTransient, Outcome::kOk},
      {401, "", Outcome::kRejected, Outcome::kRejected, Outcome::kUnknown},
      {402, "", Outcome::kTransient, Outcome::kTransient, Outcome::kUnknown},
      {403, "", Outcome::kTransient, Outcome::kTransient, Outcome::kRejected},
      {404, "", Outcome::kTransient, Outcome::kTransient, Outcome::kOk},
      {410, "", Outcome::kTransient, Outcome::kTransient, Outcome::kOk},
      {429, "", Outcome::kTransient, Outcome::kTransient, Outcome::kTransient},
      {500, "", Outcome::kTransient, Outcome::kTransient, Outcome::kUnknown},
  };
  for (const auto& c : cases) {
    Answer(Reply(c.status, c.body));
    EXPECT_EQ(List().outcome, c.list) << c.status << c.body;
    EXPECT_EQ(Verify().outcome, c.verify) << c.status << c.body;
    EXPECT_EQ(Revoke().outcome, c.revoke) << c.status << c.body;
  }
}

TEST_F(RunnerTest, UndeliveredRequests) {
  Answer(ScriptedHttpClient::Failed(Delivery::kNotSent, "connect"));
  EXPECT_EQ(Create().outcome, Outcome::kTransient);
  EXPECT_EQ(Revoke().outcome, Outcome::kTransient);
  EXPECT_EQ(List().outcome, Outcome::kTransient);
  EXPECT_EQ(Verify().outcome, Outcome::kTransient);
  EXPECT_EQ(Verify().cause, "connect");
  Answer(ScriptedHttpClient::Failed(Delivery::kUnknown, "timeout"));
  EXPECT_EQ(Create().outcome, Outcome::kUnknown);
  EXPECT_EQ(Revoke().outcome, Outcome::kUnknown);
  EXPECT_EQ(List().outcome, Outcome::kTransient);
  EXPECT_EQ(Verify().outcome, Outcome::kTransient);
  EXPECT_EQ(Create().cause, "timeout");
}

TEST_F(RunnerTest, ValuesThatCannotBeSentAreNotSent) {
  manager_ = base::CredentialValue::Of(base::Secret("a\r\nX-Evil: 1"));
  EXPECT_EQ(Create().outcome, Outcome::kRejected);
  manager_ = {};
  EXPECT_EQ(Create().outcome, Outcome::kRejected);
  EXPECT_EQ(Create().cause, "bad_request_value");
  EXPECT_EQ(Revoke("..").outcome, Outcome::kRejected);
  EXPECT_EQ(Revoke("").outcome, Outcome::kRejected);
  EXPECT_EQ(Verify("a\nb").outcome, Outcome::kTransient) << "says nothing about the key";
  EXPECT_TRUE(http_.requests().empty());
}

TEST_F(RunnerTest, RetryAfterIsReadAndCapped) {
  const auto with = [&](const std::string& text) {
    Answer(ScriptedHttpClient::Reply(429, "", {{"retry-after", text}}));
    return Create().retry_after;
  };
  EXPECT_EQ(with("17"), absl::Seconds(17));
  EXPECT_EQ(with("99999999"), absl::Hours(1));
  EXPECT_EQ(with("-5"), absl::ZeroDuration());
  EXPECT_EQ(with("soon"), absl::ZeroDuration());
  EXPECT_EQ(with(""), absl::ZeroDuration());
  const absl::Time date = absl::FromUnixSeconds(784111777);  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT", date - absl::Seconds(30)),
            absl::Seconds(30));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT", date + absl::Seconds(30)),
            absl::ZeroDuration());
}

TEST_F(RunnerTest, ListFollowsPages) {
  http_.SetHandler([](const ScriptedHttpClient::Request& request) {
    if (absl::EndsWith(request.url, "/keys?limit=2")) {
      return Reply(200, R"({"keys":[{"id":1,"name":"kt-1"},{"id":2}],"next":"a b"})");
    }
    if (absl::EndsWith(request.url, "/keys?limit=2&after=a%20b")) {
      return Reply(200, R"({"keys":[{"id":3,"name":"\u0007"}],"next":9})");
    }
    if (absl::EndsWith(request.url, "&after=9")) return Reply(200, R"({"keys":[],"next":null})");
    return Reply(500, "");
  });
  EXPECT_EQ(List().outcome, Outcome::kOk);
  ASSERT_EQ(listed_.size(), 3U);
  EXPECT_EQ(listed_[0].tag, "kt-1");
  EXPECT_EQ(listed_[1].tag, "");
  EXPECT_EQ(listed_[2].id, "3");
  EXPECT_EQ(listed_[2].tag, "") << "what is not printable is no tag";
  EXPECT_EQ(http_.requests().size(), 3U);
}

TEST_F(RunnerTest, ListIsOnlyOkWhenComplete) {
  int page = 0;
  http_.SetHandler([&](const auto&) {
    return ++page == 2 ? Reply(502, "") : Reply(200, R"({"keys":[{"id":1}],"next":"n"})");
  });
  EXPECT_EQ(List().outcome, Outcome::kTransient);
  EXPECT_TRUE(listed_.empty());
  // A cursor that repeats, and pages without end.
  http_.ClearRequests();
  Answer(Reply(200, R"({"keys":[],"next":"same"})"));
  EXPECT_EQ(List().outcome, Outcome::kTransient);
  EXPECT_EQ(http_.requests().size(), 2U);
  http_.ClearRequests();
  http_.SetHandler(
      [&](const auto&) { return Reply(200, absl::StrCat(R"({"keys":[],"next":)", ++page, "}")); });
  EXPECT_EQ(List().outcome, Outcome::kTransient);
  EXPECT_EQ(http_.requests().size(), 100U);
}

TEST_F(RunnerTest, CallsOutliveTheProvider) {
  Answer(Reply(201, kMinted));
  std::optional<Outcome> outcome;
  provider_->Create(manager_, NewKey(), [&](CallResult r, auto) { outcome = r.outcome; });
  provider_.reset();
  manager_ = {};
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(outcome, Outcome::kOk);
}

}  // namespace
}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// What each class of recipe makes of the calls, and the parts recipes are built of: requests one
// after the other, tokens, lifetimes, pages, XML.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/providers/recipe/extract.h"
#include "agent/providers/recipe/runner.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::providers {
namespace {

using base::CredentialValue;
using base::Secret;
using fakes::ScriptedHttpClient;
using testing::ElementsAre;
using testing::HasSubstr;
using Request = ScriptedHttpClient::Request;

constexpr char kTail[] = R"(
revoke:
  path: /keys/{key.id}
  outcomes: [ { status: [2xx], is: ok } ]
)";

net::HttpResult Reply(int status, const std::string& body) {
  return ScriptedHttpClient::Reply(status, body);
}

class RecipeClassesTest : public testing::Test {
 protected:
  void Use(const std::string& yaml, std::map<std::string, std::string> params = {}) {
    RecipeProvider::Setup setup;
    const auto recipe = ReadRecipe(yaml, "r.yaml");
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    setup.recipe = *recipe;
    setup.traits = setup.recipe->traits;
    setup.endpoint = "https://h";
    for (const auto& [name, param] : setup.recipe->spec.params()) {
      setup.params[name] = param.default_();
    }
    for (const auto& [name, value] : params) setup.params[name] = value;
    setup.executor = &executor_;
    provider_ = std::make_unique<RecipeProvider>(setup, http_, clock_);
  }
  // Answers in order; the last one again and again.
  void Answer(std::vector<net::HttpResult> results) {
    auto shared = std::make_shared<std::vector<net::HttpResult>>(std::move(results));
    http_.ClearRequests();
    http_.SetHandler([shared](const auto&) {
      net::HttpResult first = shared->front();
      if (shared->size() > 1) shared->erase(shared->begin());
      return first;
    });
  }
  CallResult Create(const NewKey& key) {
    std::optional<CallResult> got;
    minted_.reset();
    provider_->Create(manager_, key, [&](CallResult r, std::optional<MintedKey> m) {
      got = r;
      minted_ = std::move(m);
    });
    EXPECT_FALSE(got.has_value()) << "answered from within the call";
    executor_.AdvanceBy(absl::Minutes(2));
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
    return got.value_or(CallResult());
  }
  CallResult Verify(const CredentialValue& key) {
    std::optional<CallResult> got;
    provider_->Verify(key, [&](CallResult r) { got = r; });
    executor_.AdvanceBy(absl::Seconds(1));
    return got.value_or(CallResult());
  }
  CallResult Revoke(const std::string& id, const CredentialValue& value = {}) {
    std::optional<CallResult> got;
    provider_->Revoke(manager_, id, value, [&](CallResult r) { got = r; });
    EXPECT_FALSE(got.has_value()) << "answered from within the call";
    executor_.AdvanceBy(absl::Seconds(10));
    return got.value_or(CallResult());
  }
  std::vector<std::string> Sent() {
    std::vector<std::string> all;
    for (const Request& r : http_.requests()) {
      all.push_back(
          absl::StrCat(r.method, " ", r.url.substr(10), r.body.empty() ? "" : " ", r.body));
    }
    return all;
  }
  std::vector<std::string> ListedIds() {
    std::vector<std::string> ids;
    for (const ListedKey& key : listed_) ids.push_back(key.id);
    return ids;
  }
  static NewKey Tagged(const std::string& tag) {
    NewKey key;
    key.tag = tag;
    return key;
  }
  static NewKey For(const std::string& target) {
    NewKey key;
    key.target = target;
    return key;
  }
  static CredentialValue Key(const std::string& text) { return CredentialValue::Of(Secret(text)); }

  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor executor_{clock_};
  ScriptedHttpClient http_{clock_, executor_};
  std::unique_ptr<RecipeProvider> provider_;
  CredentialValue manager_ = Key("adm1n");
  std::optional<MintedKey> minted_;
  std::vector<ListedKey> listed_;
};

TEST_F(RecipeClassesTest, DualSlot) {
  Use(R"(recipe: r
class: dual_slot
slots: [ { id: Key1, at: /key1 }, { id: Key2, at: /key2 } ]
headers: { X: "{manager}" }
create:
  path: /regenerate
  json: { keyName: "{slot}" }
  outcomes: [ { status: ["200"], is: ok }, { status: ["403"], is: rejected } ]
list:
  method: POST
  path: /listKeys
  outcomes: [ { status: ["200"], is: ok } ]
)");
  EXPECT_THAT(provider_->traits().slots, ElementsAre("Key1", "Key2"));
  EXPECT_TRUE(provider_->traits().can_revoke);
  Answer({Reply(200, R"({"key1":"aaa","key2":"bbb"})")});
  EXPECT_EQ(Create(For("Key2")).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "Key2");
  EXPECT_EQ(minted_->value.Primary()->Reveal(), "bbb");
  EXPECT_EQ(List().outcome, Outcome::kOk);
  ASSERT_EQ(listed_.size(), 2U);
  EXPECT_EQ(listed_[0].id, "Key1");
  EXPECT_EQ(listed_[0].value.Primary()->Reveal(), "aaa");
  EXPECT_EQ(Revoke("Key1").outcome, Outcome::kOk);
  EXPECT_THAT(Sent(), ElementsAre(R"(POST regenerate {"keyName":"Key2"})", "POST listKeys",
                                  R"(POST regenerate {"keyName":"Key1"})"));
  Answer({Reply(200, "{}")});
  EXPECT_EQ(Create(For("Key2")).outcome, Outcome::kUnknown);
  EXPECT_EQ(List().outcome, Outcome::kTransient);
  EXPECT_EQ(Revoke("Key1").outcome, Outcome::kOk) << "the value is of no interest";
  Answer({Reply(404, "")});
  EXPECT_EQ(Revoke("Key1").outcome, Outcome::kUnknown) << "a slot is never gone";
}

TEST_F(RecipeClassesTest, RollStartsFromTheFirstIdAndFollowsTheReply) {
  Use(R"(recipe: r
class: roll
params: { token_id: { required: true } }
first_id: "{params.token_id}"
headers: { PRIVATE-TOKEN: "{manager}" }
create:
  path: /tokens/{key.id}/rotate
  extract: { id: /id, value: /token, expires_at: /expires_at }
  outcomes: [ { status: ["200"], is: ok } ]
)",
      {{"token_id", "5"}});
  EXPECT_FALSE(provider_->traits().can_list);
  EXPECT_FALSE(provider_->traits().can_revoke);
  Answer({Reply(200, R"({"id":6,"token":"new","expires_at":"2026-12-24"})")});
  EXPECT_EQ(Create(NewKey()).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "6");
  EXPECT_EQ(minted_->expires_at,
            absl::FromCivil(absl::CivilDay(2026, 12, 24), absl::UTCTimeZone()));
  Answer({Reply(200, R"({"id":7,"token":"new","expires_at":null})")});
  EXPECT_EQ(Create(For("6")).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->expires_at, std::nullopt);
  EXPECT_THAT(Sent(), ElementsAre("POST tokens/6/rotate"));
  Answer({Reply(200, R"({"id":7,"token":"new","expires_at":"soon"})")});
  EXPECT_EQ(Create(For("6")).outcome, Outcome::kUnknown);
}

TEST_F(RecipeClassesTest, AKeyThatIsBornDeadIsUnreadableAndAZeroTimeIsNever) {
  Use(absl::StrCat(R"(recipe: r
class: untagged
create:
  path: /keys
  extract: { id: /id, value: /key, expires_at: /expires_on }
  outcomes: [ { status: ["200"], is: ok } ]
list:
  path: /keys
  extract: { id: /id }
  outcomes: [ { status: ["200"], is: ok } ]
)",
                   kTail));
  const auto created = [this](const std::string& expires_on) {
    Answer({Reply(200, absl::StrCat(R"({"id":"1","key":"k","expires_on":")", expires_on, "\"}"))});
    return Create(NewKey());
  };
  for (const char* never : {"0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01T00:00:00+08:00",
                            "1970-01-01T00:00:00Z"}) {
    EXPECT_EQ(created(never).outcome, Outcome::kOk) << never;
    EXPECT_EQ(minted_->expires_at, std::nullopt) << never;
  }
  const absl::Time now = clock_.WallNow();
  const auto text = [](absl::Time at) {
    return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", at, absl::UTCTimeZone());
  };
  for (const absl::Duration ago : {absl::Seconds(1), absl::Hours(24 * 365)}) {
    EXPECT_EQ(created(text(now - ago)).outcome, Outcome::kUnknown) << ago;
    EXPECT_EQ(created(text(now - ago)).cause, "unreadable_reply");
  }
  EXPECT_EQ(created(text(clock_.WallNow() + absl::Hours(1))).outcome, Outcome::kOk);
}

TEST_F(RecipeClassesTest, RollKeepsItsIdWhereTheReplySaysNone) {
  Use(R"(recipe: r
class: roll
create:
  method: PUT
  path: /tokens/{key.id}/value
  json: {}
  extract: { value: /result }
  outcomes: [ { status: ["200"], is: ok } ]
)");
  Answer({Reply(200, R"({"result":"new"})")});
  EXPECT_EQ(Create(For("t1")).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "t1");
  EXPECT_THAT(Sent(), ElementsAre("PUT tokens/t1/value {}"));
}

TEST_F(RecipeClassesTest, SelfRollUsesTheKeyItself) {
  const std::string yaml = R"(recipe: r
class: self_roll
create:
  path: /self/rotate
  headers: { PRIVATE-TOKEN: "{key}" }
  extract: { value: /token }
  outcomes: [ { status: ["200"], is: ok } ]
verify:
  path: /self
  headers: { PRIVATE-TOKEN: "{key}" }
  outcomes: [ { status: ["200"], is: ok }, { status: ["401"], is: rejected } ]
)";
  Use(yaml);
  Answer({Reply(200, R"({"token":"second"})")});
  NewKey key;
  key.current = Key("first");
  EXPECT_EQ(Create(key).outcome, Outcome::kOk);
  EXPECT_EQ(http_.requests()[0].Header("PRIVATE-TOKEN"), "first");
  EXPECT_EQ(minted_->id, "sha256-16367aacb67a4a01") << "printf second | sha256sum";
  EXPECT_FALSE(ReadRecipe(yaml + "list:\n  path: /l\n  extract: { id: /i }\n"
                                 "  outcomes: [ { is: ok } ]\n",
                          "r.yaml")
                   .ok());
  EXPECT_THAT(
      std::string(ReadRecipe(absl::StrCat(yaml, "headers: { X: \"{manager}\" }\n"), "r.yaml")
                      .status()
                      .message()),
      HasSubstr("unknown placeholder {manager}"));
}

TEST_F(RecipeClassesTest, ChosenAlternatesItsSlots) {
  Use(absl::StrCat(R"(recipe: r
class: chosen
slots: [blue, green]
secret_length: 32
create:
  method: PUT
  path: /users/{slot}
  json: { password: "{secret}" }
  outcomes: [ { status: [2xx], is: ok } ]
)",
                   kTail));
  EXPECT_EQ(provider_->traits().secret_length, 32U);
  Answer({Reply(204, "")});
  NewKey key = For("blue");
  key.secret = Secret("s3cret");
  EXPECT_EQ(Create(key).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "green");
  EXPECT_EQ(minted_->value.Primary()->Reveal(), "s3cret");
  key.target = "";
  Create(key);
  EXPECT_EQ(minted_->id, "blue");
  EXPECT_THAT(Sent(), ElementsAre(R"(PUT users/green {"password":"s3cret"})",
                                  R"(PUT users/blue {"password":"s3cret"})"));
}

constexpr char kManual[] = R"(recipe: r
class: manual
headers: { X-Api-Key: "{manager}" }
list:
  path: /api_keys
  extract:
    items: /data
    id: /id
    hint: /partial_key_hint
    dead: [ { at: /status, equals: inactive }, { at: /status, equals: archived } ]
  outcomes: [ { status: ["200"], is: ok }, { status: ["401"], is: rejected } ]
revoke:
  method: POST
  path: /api_keys/{key.id}
  json: { status: inactive }
  outcomes: [ { status: ["200"], is: ok }, { status: ["403"], is: rejected } ]
  then:
    - method: POST
      path: /api_keys/{key.id}
      json: { status: archived }
      outcomes: [ { status: ["200"], is: ok }, { status: ["403"], is: rejected } ]
)";

TEST_F(RecipeClassesTest, ManualRevokesWhatTheHintFits) {
  Use(kManual);
  EXPECT_FALSE(provider_->traits().can_list) << "ids of keys that people bring are not known";
  EXPECT_TRUE(provider_->traits().can_revoke);
  const std::string listed = R"({"data":[
    {"id":"k1","partial_key_hint":"sk-ant-api03-R2D...igAA","status":"active"},
    {"id":"k2","partial_key_hint":"sk-ant-api03-YYY...igAA","status":"active"},
    {"id":"k3","partial_key_hint":"sk-ant-api03-Old...igAA","status":"archived"},
    {"id":"k4","partial_key_hint":"sk-ant-api03-Two...igAA","status":"active"},
    {"id":"k5","partial_key_hint":"sk-ant-api03-Two...igAA","status":"active"},
    {"id":"k6","partial_key_hint":null,"status":"active"}]})";
  Answer({Reply(200, listed), Reply(200, "{}")});
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-R2D2c3poigAA")).outcome, Outcome::kOk);
  EXPECT_THAT(Sent(), ElementsAre("GET api_keys", R"(POST api_keys/k1 {"status":"inactive"})",
                                  R"(POST api_keys/k1 {"status":"archived"})"));
  Answer({Reply(200, listed)});
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-OldOldOldigAA")).outcome, Outcome::kOk) << "done before";
  EXPECT_EQ(http_.requests().size(), 1U);
  const CallResult none = Revoke("", Key("sk-ant-api03-R2D2c3poigAB"));
  EXPECT_EQ(none.outcome, Outcome::kRejected);
  EXPECT_EQ(none.cause, "key_not_listed");
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-TwoxxxxxigAA")).cause, "key_ambiguous");
  EXPECT_EQ(Revoke("", {}).outcome, Outcome::kRejected);
  Answer({Reply(401, "")});
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-R2D2c3poigAA")).outcome, Outcome::kRejected);
  Answer({Reply(200, listed), Reply(200, "{}"), Reply(403, "")});
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-R2D2c3poigAA")).outcome, Outcome::kUnknown)
      << "it is inactive already";
  Answer({Reply(200, listed), Reply(403, "")});
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-R2D2c3poigAA")).outcome, Outcome::kRejected);
}

TEST_F(RecipeClassesTest, ManualTouchesNothingWhereTheHintLeavesADoubt) {
  Use(absl::StrCat(kManual, "value: { prefix: sk-ant-api03- }\n"));
  const std::string listed = R"({"data":[
    {"id":"k1","partial_key_hint":"sk-ant-...","status":"active"},
    {"id":"k2","partial_key_hint":"sk-ant-api03-R2D...igAA","status":"archived"},
    {"id":"k3","partial_key_hint":"sk-ant-api03-R2D...igAA","status":"active"},
    {"id":"k4","partial_key_hint":"sk-ant-api03-...wxyz","status":"active"}]})";
  Answer({Reply(200, listed)});
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-C3POxxxxxxAA")).cause, "key_not_listed");
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-R2D2xxxxigAA")).cause, "key_ambiguous")
      << "the one that is archived may have been it";
  EXPECT_EQ(Revoke("", Key("sk-ant-api03-C3POxxxxwxyz")).cause, "key_not_listed");
  for (const std::string& sent : Sent()) EXPECT_EQ(sent, "GET api_keys");
}

TEST(HintFits, Cases) {
  EXPECT_TRUE(HintFits("sk-ab...wxyz", "sk-abcdefghwxyz", ""));
  EXPECT_TRUE(HintFits("sk-ab...wxyz", "sk-abcdefghwxyz", "sk-"));
  EXPECT_FALSE(HintFits("sk-a...wxyz", "sk-abcdefghwxyz", "sk-")) << "too few beyond the prefix";
  EXPECT_TRUE(HintFits("sk-a...wxyz", "sk-abcdefghwxyz", "")) << "no prefix is known";
  EXPECT_FALSE(HintFits("...wxyz", "sk-abcdefghwxyz", "sk-")) << "a head shorter than the prefix";
  EXPECT_TRUE(HintFits("...uvwxyz", "sk-abcdefguvwxyz", "sk-"));
  EXPECT_FALSE(HintFits("sk-abcd***", "sk-abcdefghwxyz", "")) << "a head may be all keys' alike";
  EXPECT_FALSE(HintFits("sk-abcdef***xyz", "sk-abcdefghwxyz", "")) << "three characters at the end";
  EXPECT_FALSE(HintFits("sk-ant-...", "sk-ant-api03-abcdefghwxyz", "sk-ant-"));
  EXPECT_FALSE(HintFits("sk-ab...wxyz", "sk-abwxyz", "")) << "nothing would be hidden";
  EXPECT_FALSE(HintFits("sk-ab...wxyz", "sk-accdefghwxyz", ""));
  EXPECT_FALSE(HintFits("sk-...", "sk-abcdefgh", "")) << "fits nearly any key";
  EXPECT_FALSE(HintFits("sk-abcdefgh", "sk-abcdefgh", ""));
  EXPECT_FALSE(HintFits("", "sk-abcdefgh", ""));
}

constexpr char kSteps[] = R"(recipe: r
class: tagged
headers: { Authorization: "{manager}" }
create:
  path: /token/
  json: { name: "{tag}" }
  outcomes: [ { status: ["200"], is: ok }, { status: ["401"], is: rejected } ]
  then:
    - path: /token/search
      query: { keyword: "{tag}" }
      repeat: { every: 1s, up_to: 3s }
      extract: { find: { items: /data, at: /name, equals: "{tag}" }, id: /id, keep: { n: /n } }
      outcomes:
        - { status: ["200"], match: [ { at: /data/0, exists: true } ], is: ok }
        - { status: ["200"], is: transient }
    - method: POST
      path: /token/{new.id}/key
      query: { n: "{new.n}" }
      extract: { value: { at: /data/key, prefix: sk- } }
      outcomes: [ { status: ["200"], is: ok }, { status: ["401"], is: rejected } ]
list:
  path: /token
  extract: { items: /data, id: /id, tag: /name }
  outcomes: [ { status: ["200"], is: ok } ]
)";
constexpr char kFound[] =
    R"({"data":[{"id":1,"name":"kt-10","n":1},{"id":2,"name":"kt-1","n":7}]})";

TEST_F(RecipeClassesTest, CreateInSeveralRequests) {
  Use(absl::StrCat(kSteps, kTail));
  Answer({Reply(200, "{}"), Reply(200, R"({"data":[]})"), Reply(200, kFound),
          Reply(200, R"({"data":{"key":"abc"}})")});
  EXPECT_EQ(Create(Tagged("kt-1")).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "2");
  EXPECT_EQ(minted_->value.Primary()->Reveal(), "sk-abc");
  EXPECT_EQ(minted_->value.fields.size(), 1U) << "what is kept is not part of the key";
  EXPECT_THAT(Sent(), ElementsAre(R"(POST token/ {"name":"kt-1"})", "GET token/search?keyword=kt-1",
                                  "GET token/search?keyword=kt-1", "POST token/2/key?n=7"));
}

TEST_F(RecipeClassesTest, OnceTheFirstRequestIsDoneEveryFailureIsUnknown) {
  Use(absl::StrCat(kSteps, kTail));
  Answer({Reply(401, "")});
  EXPECT_EQ(Create(Tagged("kt-1")).outcome, Outcome::kRejected);
  Answer({Reply(200, "{}"), Reply(200, R"({"data":[]})")});
  EXPECT_EQ(Create(Tagged("kt-1")).outcome, Outcome::kUnknown) << "never found";
  EXPECT_EQ(http_.requests().size(), 5U) << "asked at 0, 1, 2 and 3 s";
  Answer({Reply(200, "{}"), Reply(200, kFound), Reply(401, "")});
  EXPECT_EQ(Create(Tagged("kt-1")).outcome, Outcome::kUnknown);
  Answer({Reply(200, "{}"), Reply(200, kFound), Reply(200, "{}")});
  EXPECT_EQ(Create(Tagged("kt-1")).outcome, Outcome::kUnknown);
  Answer({Reply(200, "{}"), Reply(200, kFound),
          ScriptedHttpClient::Failed(net::Delivery::kNotSent, "connect")});
  EXPECT_EQ(Create(Tagged("kt-1")).outcome, Outcome::kUnknown);
  Answer({Reply(200, "{}"),
          Reply(200, R"({"data":[{"id":1,"name":"kt-1","n":1},{"id":2,"name":"kt-1","n":1}]})")});
  EXPECT_EQ(Create(Tagged("kt-1")).outcome, Outcome::kUnknown) << "which one?";
}

TEST_F(RecipeClassesTest, JsonTypesAndThingsLeftOut) {
  const std::string yaml = absl::StrCat(R"(recipe: r
class: tagged
params:
  n: { format: number, default: "7" }
  b: { format: bool, default: "true" }
  l: { format: list, default: "a, b,c" }
  j: { format: json, default: '[{"x":1}]' }
  s: {}
  life: { format: duration }
lifetime: life
create:
  path: /k
  query: { s: "{params.s}", date: "{expires_at.date}" }
  headers: { X-S: "{params.s}" }
  json:
    name: "{tag}"
    n: "{params.n}"
    text: "n{params.n}"
    b: "{params.b}"
    l: "{params.l}"
    j: "{params.j}"
    s: "{params.s}"
    list: ["{params.s}", x]
    seconds: "{expires_in.seconds}"
    at: "{expires_at.rfc3339}"
  extract: { id: /id, value: /v, expires_at: { at: /e, as: seconds } }
  outcomes: [ { is: ok } ]
list:
  path: /k
  extract: { id: /id, tag: /name }
  outcomes: [ { is: ok } ]
)",
                                        kTail);
  Use(yaml);
  Answer({Reply(200, R"({"id":1,"v":"key","e":90})")});
  const absl::Time now = clock_.WallNow();
  EXPECT_EQ(Create(Tagged("t")).outcome, Outcome::kOk);
  EXPECT_THAT(Sent(),
              ElementsAre(R"(POST k {"b":true,"j":[{"x":1}],"l":["a","b","c"],"list":["x"],)"
                          R"("n":7,"name":"t","text":"n7"})"));
  EXPECT_EQ(http_.requests()[0].headers.size(), 1U) << "only the content type";
  ASSERT_TRUE(minted_->expires_at.has_value());
  EXPECT_LT(absl::AbsDuration(*minted_->expires_at - now - absl::Seconds(90)), absl::Seconds(1));

  Use(yaml, {{"life", "30d"}, {"s", "here"}});
  Answer({Reply(200, R"({"id":1,"v":"key","e":0})")});
  const absl::Time end = clock_.WallNow() + absl::Hours(24 * 30);
  EXPECT_EQ(Create(Tagged("t")).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->expires_at, std::nullopt);
  const auto body = nlohmann::json::parse(http_.requests()[0].body);
  EXPECT_EQ(body["seconds"], 2592000);
  EXPECT_EQ(body["at"], absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", end, absl::UTCTimeZone()));
  EXPECT_EQ(body["list"], (nlohmann::json{"here", "x"}));
  EXPECT_EQ(http_.requests()[0].url,
            absl::FormatTime("https://h/k?date=%Y-%m-%d&s=here", end, absl::UTCTimeZone()));
}

std::string NewPem() {
  EVP_PKEY* key = EVP_RSA_gen(2048);
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string pem(data, static_cast<size_t>(size));
  BIO_free(bio);
  EVP_PKEY_free(key);
  return pem;
}

class ManagerTokenTest : public RecipeClassesTest {
 protected:
  ManagerTokenTest() {
    Use(R"(recipe: r
class: untagged
params: { token_endpoint: { format: url, default: "https://t" } }
jwts:
  manager:
    algorithm: rs256
    key: "{manager/private_key}"
    claims: { iss: "{manager/client_email}", aud: "{params.token_endpoint}/token" }
    lifetime: 1h
manager_token:
  endpoint: token_endpoint
  path: /token
  form: { grant_type: jwt-bearer, assertion: "{jwt.manager}" }
  extract: { value: /access_token, expires_at: { at: /expires_in, as: seconds } }
  outcomes: [ { status: ["200"], is: ok }, { status: ["400"], is: rejected } ]
headers: { Authorization: "Bearer {manager_token}" }
create:
  path: /keys
  json: {}
  extract:
    id: { at: /name, last_segment: true }
    value: { at: /data, base64: true, document: true }
  outcomes: [ { status: ["200"], is: ok } ]
list:
  path: /keys
  extract: { items: /keys, id: { at: /name, last_segment: true }, items_optional: true }
  outcomes: [ { status: ["200"], is: ok }, { status: ["401"], is: rejected } ]
revoke:
  path: /keys/{key.id}
  outcomes: [ { status: ["200"], is: ok } ]
)");
    manager_ = Key(nlohmann::json{{"private_key", NewPem()}, {"client_email", "sa@p"}}.dump());
    http_.SetHandler([this](const Request& request) {
      if (request.url == "https://t/token") {
        ++exchanges_;
        return Reply(token_status_, absl::StrCat(R"({"access_token":"tok)", exchanges_,
                                                 R"(","expires_in":3600})"));
      }
      last_authorization_ = request.Header("Authorization");
      if (request.method == "POST") {
        // printf '{"a": 1}\n' | base64
        return Reply(200, R"({"name":"projects/p/keys/k9","data":"eyJhIjogMX0K"})");
      }
      return Reply(api_status_, "{}");
    });
  }
  int exchanges_ = 0;
  int token_status_ = 200;
  int api_status_ = 200;
  std::string last_authorization_;
};

TEST_F(ManagerTokenTest, IsExchangedOnceAndKeptUntilShortlyBeforeItsEnd) {
  EXPECT_EQ(Create(NewKey()).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "k9");
  EXPECT_EQ(minted_->value.Primary()->Reveal(), "{\"a\": 1}\n");
  EXPECT_EQ(last_authorization_, "Bearer tok1");
  const std::string body = http_.requests()[0].body;
  ASSERT_TRUE(absl::StartsWith(body, "assertion=ey"));
  const std::vector<std::string> parts = absl::StrSplit(body, '.');
  std::string claims;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(parts.at(1), &claims));
  EXPECT_EQ(nlohmann::json::parse(claims)["iss"], "sa@p");
  EXPECT_EQ(nlohmann::json::parse(claims)["aud"], "https://t/token");
  EXPECT_EQ(List().outcome, Outcome::kOk) << "an empty list that is left out";
  EXPECT_EQ(exchanges_, 1);
  executor_.AdvanceBy(absl::Minutes(54));
  List();
  EXPECT_EQ(exchanges_, 1);
  executor_.AdvanceBy(absl::Minutes(3));
  List();
  EXPECT_EQ(exchanges_, 2) << "less than two minutes left";
}

TEST_F(ManagerTokenTest, ManyCallsShareOneExchange) {
  int answers = 0;
  for (int i = 0; i < 20; ++i) {
    provider_->List(manager_, [&](const CallResult& r, const auto&) {
      EXPECT_EQ(r.outcome, Outcome::kOk);
      ++answers;
    });
  }
  const auto other = Key(nlohmann::json{{"private_key", NewPem()}, {"client_email", "b"}}.dump());
  provider_->List(other, [&](const CallResult&, const auto&) { ++answers; });
  executor_.AdvanceBy(absl::Seconds(10));
  EXPECT_EQ(answers, 21);
  EXPECT_EQ(exchanges_, 2) << "one for each manager";
}

TEST_F(ManagerTokenTest, AFailedExchangeHasNoEffect) {
  token_status_ = 400;
  EXPECT_EQ(Create(NewKey()).outcome, Outcome::kRejected);
  EXPECT_EQ(Create(NewKey()).cause, "manager_token_refused");
  token_status_ = 500;
  EXPECT_EQ(Create(NewKey()).outcome, Outcome::kTransient);
  token_status_ = 200;
  api_status_ = 401;
  EXPECT_EQ(List().outcome, Outcome::kRejected);
  const int before = exchanges_;
  EXPECT_EQ(List().outcome, Outcome::kRejected);
  EXPECT_EQ(exchanges_, before + 1) << "a token the service refuses is not used again";
  manager_ = Key("no document");
  EXPECT_EQ(List().cause, "bad_request_value");
}

TEST_F(RecipeClassesTest, XmlAndAwsSignatures) {
  Use(R"(recipe: r
class: untagged
reply_format: xml
manager_fields: [access_key_id]
sign:
  aws_sigv4: { service: iam, region: us-east-1, access_key_id: "{manager.access_key_id}", secret_access_key: "{manager}" }
create:
  path: /
  form: { Action: CreateAccessKey, Version: 2010-05-08 }
  extract:
    id: /CreateAccessKeyResponse/CreateAccessKeyResult/AccessKey/AccessKeyId
    value: /CreateAccessKeyResponse/CreateAccessKeyResult/AccessKey/SecretAccessKey
    fields: { access_key_id: /CreateAccessKeyResponse/CreateAccessKeyResult/AccessKey/AccessKeyId }
  outcomes:
    - { status: ["200"], is: ok }
    - { status: ["409"], match: [ { at: /ErrorResponse/Error/Code, equals: LimitExceeded } ], is: limited }
list:
  method: POST
  path: /
  form: { Action: ListAccessKeys }
  extract:
    items: /ListAccessKeysResponse/ListAccessKeysResult/AccessKeyMetadata/member
    items_optional: true
    id: /AccessKeyId
  outcomes: [ { status: ["200"], match: [ { at: /ListAccessKeysResponse, exists: true } ], is: ok } ]
verify:
  method: POST
  path: /
  sign:
    aws_sigv4: { service: sts, region: us-east-1, access_key_id: "{key.access_key_id}", secret_access_key: "{key}" }
  form: { Action: GetCallerIdentity }
  outcomes: [ { status: ["200"], is: ok } ]
revoke:
  method: POST
  path: /
  form: { Action: DeleteAccessKey, AccessKeyId: "{key.id}" }
  outcomes: [ { status: ["200"], is: ok } ]
)");
  manager_.fields.push_back({"access_key_id", Secret("AKIAMANAGER"), false});
  Answer({Reply(200,
                "<CreateAccessKeyResponse xmlns='https://iam.amazonaws.com/doc/2010-05-08/'>"
                "<CreateAccessKeyResult><AccessKey><UserName>u</UserName>"
                "<AccessKeyId>AKIANEW</AccessKeyId><Status>Active</Status>"
                "<SecretAccessKey>wJal/r+x</SecretAccessKey></AccessKey>"
                "</CreateAccessKeyResult></CreateAccessKeyResponse>")});
  EXPECT_EQ(Create(NewKey()).outcome, Outcome::kOk);
  EXPECT_EQ(minted_->id, "AKIANEW");
  EXPECT_EQ(minted_->value.Primary()->Reveal(), "wJal/r+x");
  EXPECT_THAT(http_.requests()[0].Header("Authorization"),
              testing::MatchesRegex("AWS4-HMAC-SHA256 Credential=AKIAMANAGER/[0-9]+/us-east-1/iam/"
                                    "aws4_request, SignedHeaders=content-type;host;x-amz-date, "
                                    "Signature=[0-9a-f]+"));
  const CredentialValue made = minted_->value;
  Verify(made);
  EXPECT_THAT(http_.requests()[1].Header("Authorization"), HasSubstr("Credential=AKIANEW/"));
  Answer({Reply(409, "<ErrorResponse><Error><Code>LimitExceeded</Code></Error></ErrorResponse>")});
  EXPECT_EQ(Create(NewKey()).outcome, Outcome::kLimited);
  const auto listed = [](const std::string& members) {
    return Reply(200, "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata>" +
                          members +
                          "</AccessKeyMetadata></ListAccessKeysResult></ListAccessKeysResponse>");
  };
  Answer(
      {listed("<member><AccessKeyId>A</AccessKeyId></member>"
              "<member><AccessKeyId>B</AccessKeyId></member>")});
  EXPECT_EQ(List().outcome, Outcome::kOk);
  EXPECT_THAT(ListedIds(), ElementsAre("A", "B"));
  Answer({listed("<member><AccessKeyId>A</AccessKeyId></member>")});
  EXPECT_EQ(List().outcome, Outcome::kOk);
  EXPECT_THAT(ListedIds(), ElementsAre("A"));
  Answer({listed("")});
  EXPECT_EQ(List().outcome, Outcome::kOk);
  EXPECT_THAT(ListedIds(), ElementsAre());
  Answer({listed("<member>x</member>")});
  EXPECT_EQ(List().outcome, Outcome::kTransient);
  Answer({Reply(200, "<html>hello</html>")});
  EXPECT_EQ(List().outcome, Outcome::kTransient);
}

std::string ListOnly(const std::string& extract, const std::string& paging) {
  return absl::StrCat(R"(recipe: r
class: tagged
create:
  path: /k
  json: { name: "{tag}" }
  extract: { id: /id, value: /v }
  outcomes: [ { is: ok } ]
list:
  path: /k
  extract: { items: /d, id: /i, tag: /t)",
                      extract, " }\n  paging: ", paging,
                      "\n  outcomes: [ { status: [\"200\"], is: ok } ]", kTail);
}

TEST_F(RecipeClassesTest, PagesAreCounted) {
  Use(ListOnly("", "{ query: p, first_page: 0 }"));
  Answer({Reply(200, R"({"d":[{"i":1},{"i":2}]})"), Reply(200, R"({"d":[{"i":2},{"i":3}]})"),
          Reply(200, R"({"d":[]})")});
  EXPECT_EQ(List().outcome, Outcome::kOk);
  EXPECT_THAT(ListedIds(), ElementsAre("1", "2", "3")) << "an entry that moved comes once";
  EXPECT_THAT(Sent(), ElementsAre("GET k?p=0", "GET k?p=1", "GET k?p=2"));
  Answer({Reply(200, R"({"d":[{"i":1},{"i":2}]})")});
  EXPECT_EQ(List().outcome, Outcome::kTransient) << "the service does not know the parameter";
  EXPECT_EQ(http_.requests().size(), 2U);
  Use(ListOnly("", "{ query: offset, offset: true, more: /more }"));
  Answer({Reply(200, R"({"d":[{"i":1},{"i":2}],"more":true})"),
          Reply(200, R"({"d":[{"i":3}],"more":false})")});
  EXPECT_EQ(List().outcome, Outcome::kOk);
  EXPECT_THAT(Sent(), ElementsAre("GET k?offset=0", "GET k?offset=2"));
}

TEST_F(RecipeClassesTest, ACursorCountsOnlyWhileThereIsMore) {
  Use(ListOnly("", "{ query: after, next: /last, more: /more }"));
  Answer({Reply(200, R"({"d":[{"i":1}],"last":"1","more":true})"),
          Reply(200, R"({"d":[{"i":2}],"last":"2","more":false})")});
  EXPECT_EQ(List().outcome, Outcome::kOk);
  EXPECT_THAT(Sent(), ElementsAre("GET k", "GET k?after=1"));
  Answer({Reply(200, R"({"d":[{"i":1}],"more":true})")});
  EXPECT_EQ(List().outcome, Outcome::kTransient) << "more, but nobody says where";
  Answer({Reply(200, R"({"d":[{"i":1}],"more":"perhaps"})")});
  EXPECT_EQ(List().outcome, Outcome::kTransient);
}

TEST_F(RecipeClassesTest, ListsPassOverAndMarkAsDead) {
  Use(ListOnly(", only: [ { at: /t, starts_with: kt- } ], dead: [ { at: /s, equals: \"2\" } ]",
               "{ query: p, next: /next }"));
  Answer({Reply(200, R"({"d":[{"i":1,"t":"kt-1","s":1},{"i":2,"t":"kt-2","s":2},{"t":"x"}]})")});
  EXPECT_EQ(List().outcome, Outcome::kOk);
  ASSERT_EQ(listed_.size(), 2U);
  EXPECT_FALSE(listed_[0].dead);
  EXPECT_TRUE(listed_[1].dead);
}

TEST_F(RecipeClassesTest, KeysThatDieByThemselvesNeedNoList) {
  Use(R"(recipe: r
class: untagged
timing: { expires_by_itself: 1h }
create:
  path: /t
  headers: { Authorization: "Bearer {manager}" }
  extract: { value: /token, expires_at: /expires_at }
  outcomes: [ { status: ["201"], is: ok } ]
revoke:
  path: /t
  headers: { Authorization: "Bearer {key}" }
  outcomes: [ { status: ["204"], is: ok } ]
)");
  EXPECT_FALSE(provider_->traits().can_list);
  EXPECT_EQ(provider_->traits().expires_by_itself, absl::Hours(1));
  Answer({Reply(201, R"({"token":"ghs_1","expires_at":"2026-11-22T18:00:00Z"})")});
  EXPECT_EQ(Create(NewKey()).outcome, Outcome::kOk);
  EXPECT_THAT(minted_->id, testing::StartsWith("sha256-"));
  Answer({Reply(204, "")});
  EXPECT_EQ(Revoke("x", Key("ghs_1")).outcome, Outcome::kOk);
  EXPECT_EQ(http_.requests()[0].Header("Authorization"), "Bearer ghs_1");
  EXPECT_EQ(Revoke("x").outcome, Outcome::kRejected) << "the value is not known any more";
}

}  // namespace
}  // namespace keyturn::providers

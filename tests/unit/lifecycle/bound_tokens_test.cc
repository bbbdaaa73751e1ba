// SPDX-License-Identifier: Apache-2.0
// Tokens that are bound to a key (DPoP), over the real exchange with a scripted server: a nonce is
// answered within one flight, and who gets the token gets the key exactly when the token is bound.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/lifecycle/keeper.h"
#include "agent/providers/oauth/http_authorization_server.h"
#include "agent/providers/proof_key.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"
#include "tests/fakes/scripted_http_client.h"

namespace keyturn::lifecycle {
namespace {

using fakes::CommitFault;
using fakes::ScriptedHttpClient;
using Sent = ScriptedHttpClient::Request;

// A Keeper and the HTTP client of its authorization server.
class WireHouse {
 public:
  WireHouse() { Start(); }
  void Crash() {
    executor_.reset();
    keeper_.reset();
    failures_.reset();
    server_.reset();
    http_.reset();
  }
  void Start() {
    executor_ = std::make_unique<fakes::SimulatedExecutor>(clock);
    failures_ = std::make_unique<observe::Failures>(log, clock);
    http_ = std::make_unique<ScriptedHttpClient>(clock, *executor_);
    http_->SetHandler([this](const Sent& sent) {
      requests.push_back(sent);
      return answer(sent);
    });
    server_ = std::make_unique<providers::HttpAuthorizationServer>(
        *http_, providers::HttpAuthorizationServer::Options{}, clock, random);
    keeper_ = std::make_unique<Keeper>(
        Keeper::Dependencies{store.Restart(),
                             *executor_,
                             clock,
                             random,
                             log,
                             *failures_,
                             sink,
                             *server_,
                             {registry_, [](absl::string_view) { return absl::OkStatus(); },
                              [](const v1::PolicySpec&) { return absl::OkStatus(); }, presets_},
                             [](const Keeper::Policies&) {}});
    ASSERT_TRUE(keeper_->Start().ok());
    Advance(absl::ZeroDuration());
  }
  void Advance(absl::Duration d) {
    executor_->AdvanceBy(d);
    executor_->RunReady();
  }
  void Apply(const std::string& yaml) {
    v1::ApplyRequest request;
    request.add_files()->set_yaml(yaml);
    keeper_->Apply(request, false, [](const auto& r) { ASSERT_TRUE(r.ok()) << r.status(); });
    Advance(absl::ZeroDuration());
  }

  void Put(const std::string& name, const std::string& value) {
    v1::PutRequest request;
    request.set_name(name);
    request.add_fields()->set_value(value);
    keeper_->Put(request, [](const auto& r) { ASSERT_TRUE(r.ok()) << r.status(); });
    Advance(absl::ZeroDuration());
  }

  fakes::SimulatedClock clock;
  fakes::TestStore store;
  fakes::RecordingLog log;
  fakes::RecordingSink sink;
  fakes::SeededRandom random{5};
  std::vector<Sent> requests;
  std::function<net::HttpResult(const Sent&)> answer;

 private:
  fakes::SimulatedExecutor world_{clock};
  fakes::FakeRegistry registry_{
      std::make_shared<fakes::FakeProvider>(fakes::FakeProvider::Options{}, clock, world_),
      std::make_shared<fakes::FakeProvider>(fakes::FakeProvider::Options{}, clock, world_)};
  const providers::Presets presets_;
  std::unique_ptr<fakes::SimulatedExecutor> executor_;
  std::unique_ptr<observe::Failures> failures_;
  std::unique_ptr<ScriptedHttpClient> http_;
  std::unique_ptr<providers::HttpAuthorizationServer> server_;
  std::unique_ptr<Keeper> keeper_;
};

// A part of the proof; empty when there is none.
nlohmann::json ProofPart(const Sent& sent, size_t part) {
  const std::vector<std::string> parts = absl::StrSplit(sent.Header("DPoP"), '.');
  std::string text;
  if (parts.size() != 3 || !absl::WebSafeBase64Unescape(parts[part], &text)) return {};
  return nlohmann::json::parse(text, nullptr, false);
}
std::string NonceOf(const Sent& sent) { return ProofPart(sent, 1).value("nonce", ""); }
std::string KeyOf(const Sent& sent) { return ProofPart(sent, 0).value("jwk", "{}"_json).dump(); }

net::HttpResult Token(const std::string& type) {
  return ScriptedHttpClient::Reply(
      200, absl::StrCat(R"({"access_token":"at","expires_in":600,"token_type":")", type, "\"}"));
}

class BoundTokensTest : public testing::Test {
 protected:
  void Use(const std::string& more = "") {
    Begin(more);
    house_.Advance(absl::Seconds(1));
  }
  // No further than to the first thing that takes time.
  void Begin(const std::string& more = "") {
    house_.Apply(
        absl::StrCat("credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: c, "
                     "client_auth: none, grant: client_credentials, dpop: true",
                     more, " }\n"));
  }
  const PublishedVersion& Version() { return house_.sink.versions.at("t"); }
  bool HasToken() {
    const auto found = house_.sink.versions.find("t");
    return found != house_.sink.versions.end() && found->second.version != 0;
  }

  WireHouse house_;
};

TEST_F(BoundTokensTest, ANonceIsAnsweredAtOnceAndIsNoFailure) {
  house_.answer = [](const Sent& sent) {
    if (NonceOf(sent) == "n1") return Token("DPoP");
    return ScriptedHttpClient::Reply(400, R"({"error":"use_dpop_nonce"})", {{"dpop-nonce", "n1"}});
  };
  Use();
  ASSERT_EQ(house_.requests.size(), 2u);
  EXPECT_EQ(NonceOf(house_.requests[0]), "");
  EXPECT_EQ(house_.log.Failures("REFRESH_FAILED"), 0);
  ASSERT_TRUE(HasToken());
  EXPECT_EQ(Version().token_type, "DPoP");
  EXPECT_EQ(Version().attach_format, "DPoP {value}");
  const base::Secret* key = Version().value.Find("dpop_key");
  ASSERT_NE(key, nullptr);
  EXPECT_TRUE(providers::ProofKeyThumbprint(*key).ok());
  EXPECT_EQ(Version().value.primary, "access_token");
}

TEST_F(BoundTokensTest, AServerThatAlwaysWantsAnotherNonceIsRetriedWithPatience) {
  house_.answer = [](const Sent&) {
    return ScriptedHttpClient::Reply(400, R"({"error":"use_dpop_nonce"})", {{"dpop-nonce", "n"}});
  };
  Use();
  EXPECT_FALSE(HasToken());
  EXPECT_GE(house_.log.Count({"REFRESH_FAILED", "use_dpop_nonce"}), 1);
  house_.Advance(absl::Minutes(1));
  EXPECT_LE(house_.requests.size(), 20u);
  house_.answer = [](const Sent&) { return Token("DPoP"); };
  house_.Advance(absl::Minutes(1));
  EXPECT_TRUE(HasToken());
}

TEST_F(BoundTokensTest, ATokenThatIsNotBoundIsHandedOutWithoutTheKey) {
  house_.answer = [](const Sent&) { return Token("Bearer"); };
  Use();
  ASSERT_TRUE(HasToken());
  EXPECT_NE(house_.requests[0].Header("DPoP"), "") << "it was offered";
  EXPECT_EQ(Version().value.Find("dpop_key"), nullptr);
  EXPECT_EQ(Version().value.fields.size(), 1u);
  EXPECT_EQ(Version().token_type, "Bearer");
  EXPECT_EQ(Version().attach_format, "Bearer {value}");
}

TEST_F(BoundTokensTest, ATypeThatNobodyAskedForBindsNothing) {
  house_.answer = [](const Sent&) { return Token("dpop"); };
  Use(" }\n  u:\n    oauth: { token_url: https://h/t, client_id: c, client_auth: none, grant: "
      "client_credentials");
  ASSERT_TRUE(HasToken());
  EXPECT_NE(Version().value.Find("dpop_key"), nullptr) << "whatever the case of the letters";
  EXPECT_EQ(house_.sink.versions.at("u").value.Find("dpop_key"), nullptr);
  EXPECT_EQ(house_.sink.versions.at("u").token_type, "Bearer");
}

TEST_F(BoundTokensTest, TheKeyStaysTheSameOverRefreshesAndRestarts) {
  house_.answer = [](const Sent&) { return Token("DPoP"); };
  Use();
  const std::string key = KeyOf(house_.requests[0]);
  ASSERT_NE(key, "{}");
  house_.Advance(absl::Minutes(9));
  house_.Crash();
  house_.Start();
  house_.Advance(absl::Minutes(9));
  ASSERT_GE(house_.requests.size(), 3u);
  for (const Sent& sent : house_.requests) EXPECT_EQ(KeyOf(sent), key);
}

// Were it sent first, a crash could leave a token that nobody can use.
TEST_F(BoundTokensTest, TheKeyIsStoredBeforeTheServerHearsOfIt) {
  house_.answer = [](const Sent&) { return Token("DPoP"); };
  house_.Apply("credentials:\n  s: { static: {} }\n");
  // The commit of the resource itself succeeds, that of the key does not.
  house_.store.faults().FailCommit(2, CommitFault::kDiskFull);
  Begin();
  EXPECT_EQ(house_.log.Count({"STORE_FULL", "disk_full"}), 1);
  EXPECT_TRUE(house_.requests.empty());
  house_.Advance(absl::Minutes(1));
  EXPECT_TRUE(HasToken());
  EXPECT_EQ(house_.log.Resolved("STORE_FULL"), 1);
}

TEST_F(BoundTokensTest, AStoreThatIsBrokenIsNotCalledFull) {
  house_.answer = [](const Sent&) { return Token("DPoP"); };
  house_.store.faults().FailCommit(2, CommitFault::kBrokenDisk);
  Begin();
  EXPECT_EQ(house_.log.Count({"STORE_FULL", "store_error"}), 1);
  EXPECT_TRUE(house_.requests.empty());
}

TEST_F(BoundTokensTest, ARefreshTokenThatWasPutFirstIsNotLostToItsKey) {
  house_.answer = [](const Sent&) { return Token("DPoP"); };
  house_.Apply(
      "credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: c, client_auth: none, "
      "grant: refresh_token, dpop: true }\n");
  house_.Put("t", "rt-1");
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(HasToken());
  EXPECT_TRUE(absl::StrContains(house_.requests[0].body, "refresh_token=rt-1"));
  const std::string key = KeyOf(house_.requests[0]);
  house_.Put("t", "rt-2");
  house_.Advance(absl::Seconds(1));
  EXPECT_TRUE(absl::StrContains(house_.requests.back().body, "refresh_token=rt-2"));
  EXPECT_EQ(KeyOf(house_.requests.back()), key) << "the server may know it by that key";
}

}  // namespace
}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// The client library against a server in this process, over a real unix socket.
#include "keyturn/client.h"

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "keyturn/cached_credentials.h"
#include "tests/fakes/fake_agent.h"

namespace keyturn {
namespace {

using fakes::DetailedError;
using fakes::FakeAgent;
using fakes::SocketDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Type = WatchEvent::Type;

// Collects events as "value team/key 3", in order.
class Events {
 public:
  std::function<void(WatchEvent)> Callback() {
    return [this](WatchEvent event) {
      absl::MutexLock lock(&mutex_);
      events_.push_back(std::move(event));
    };
  }
  // The next event, or nothing after a long time.
  std::string Next() {
    absl::MutexLock lock(&mutex_);
    const auto some = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !events_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&some), absl::Seconds(30))) return "nothing";
    last_ = std::move(events_.front());
    events_.pop_front();
    switch (last_.type) {
      case Type::kValue:
        return absl::StrCat("value ", last_.credential.name, " ", last_.credential.version, " ",
                            last_.credential.value().Reveal());
      case Type::kSynced:
        return "synced";
      case Type::kDeleted:
        return absl::StrCat("deleted ", last_.name);
      case Type::kDisconnected:
        return "disconnected";
      case Type::kRefused:
        return absl::StrCat("refused ", last_.name);
      case Type::kEnded:
        return "ended";
    }
    return "unknown";
  }
  const WatchEvent& last() const { return last_; }

 private:
  absl::Mutex mutex_;
  std::deque<WatchEvent> events_ ABSL_GUARDED_BY(mutex_);
  WatchEvent last_;
};

class ClientTest : public ::testing::Test {
 protected:
  std::shared_ptr<Client> Connect(absl::Duration connect_timeout = absl::Seconds(20)) {
    return *Client::Connect(
        {.socket_path = agent_.socket_path(), .connect_timeout = connect_timeout});
  }
  static WatchOptions Quick() {
    WatchOptions options;
    options.first_backoff = absl::Milliseconds(5);
    options.last_backoff = absl::Milliseconds(20);
    options.retry_refused_after = absl::Milliseconds(50);
    return options;
  }

  SocketDirectory directory_;
  FakeAgent agent_{directory_.File("agent.sock")};
};

TEST_F(ClientTest, GetAnswersTheWholeCredential) {
  agent_.Start();
  const absl::Time expiry = absl::FromUnixSeconds(4'000'000'000);
  agent_.Set("team/key", 3, "s3cret", expiry);
  const auto credential = Connect()->Get("team/key");
  ASSERT_TRUE(credential.ok()) << credential.status();
  EXPECT_EQ(credential->name, "team/key");
  EXPECT_EQ(credential->kind, CredentialKind::kOAuthToken);
  EXPECT_EQ(credential->version, 3u);
  EXPECT_EQ(credential->value().Reveal(), "s3cret");
  EXPECT_EQ(credential->expires_at, expiry);
  EXPECT_EQ(credential->header_name, "Authorization");
  EXPECT_EQ(credential->HeaderValue()->Reveal(), "Bearer s3cret");
}

TEST_F(ClientTest, ErrorsKeepWhatTheAgentSaid) {
  agent_.Start();
  agent_.FailName("team/key", DetailedError(grpc::StatusCode::UNAVAILABLE, "provider is down",
                                            "PROVIDER_DOWN", absl::Seconds(12)));
  const auto credential = Connect()->Get("team/key");
  EXPECT_TRUE(absl::IsUnavailable(credential.status()));
  EXPECT_FALSE(IsUnreachable(credential.status()));
  EXPECT_EQ(ReasonOf(credential.status()), "PROVIDER_DOWN");
  EXPECT_EQ(FactsOf(credential.status()).at("credential"), "team/key");
  EXPECT_EQ(RetryDelayOf(credential.status()), absl::Seconds(12));
  // The agent decided: it is not asked again.
  EXPECT_EQ(agent_.get_calls(), 1);
}

TEST_F(ClientTest, WithoutAnAgentACallSaysSo) {
  const auto credential = Connect(absl::ZeroDuration())->Get("team/key");
  EXPECT_TRUE(IsUnreachable(credential.status()));
  EXPECT_THAT(std::string(credential.status().message()), HasSubstr("there is no such socket"));
  EXPECT_THAT(std::string(credential.status().message()), HasSubstr(agent_.socket_path()));
}

TEST_F(ClientTest, ACallWaitsForAnAgentThatStarts) {
  const auto client = Connect();
  std::thread starter([this] {
    agent_.Set("team/key", 1, "value");
    agent_.Start();
  });
  const auto credential = client->Get("team/key", {.timeout = absl::Seconds(20)});
  starter.join();
  EXPECT_TRUE(credential.ok()) << credential.status();
}

TEST_F(ClientTest, ACallAfterARestartWorks) {
  agent_.Start();
  agent_.Set("team/key", 1, "value");
  const auto client = Connect();
  ASSERT_TRUE(client->Get("team/key").ok());
  agent_.Stop();
  agent_.Start();
  const auto credential = client->Get("team/key", {.timeout = absl::Seconds(20)});
  EXPECT_TRUE(credential.ok()) << credential.status();
}

TEST_F(ClientTest, ABatchHasAResultForEachName) {
  agent_.Start();
  agent_.Set("team/one", 1, "1");
  agent_.Set("team/two", 2, "2");
  const auto results = Connect()->BatchGet({"team/two", "team/none", "team/one"});
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 3u);
  EXPECT_EQ((*results)[0]->version, 2u);
  EXPECT_TRUE(absl::IsNotFound((*results)[1].status()));
  EXPECT_EQ(ReasonOf((*results)[1].status()), "FAKE_REASON");
  EXPECT_EQ(RetryDelayOf((*results)[1].status()), absl::Seconds(7));
  EXPECT_EQ((*results)[2]->version, 1u);
}

TEST_F(ClientTest, WhoAmITellsTheGrants) {
  agent_.Start();
  const auto identity = Connect()->WhoAmI();
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->user, "support");
  ASSERT_EQ(identity->grants.size(), 1u);
  EXPECT_THAT(identity->grants[0].names, ElementsAre("support-bot/*"));
}

TEST_F(ClientTest, SocketPathsThatCannotBeAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(Client::Connect({.socket_path = "relative"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Client::Connect({.socket_path = "/" + std::string(200, 'x')}).status()));
}

TEST_F(ClientTest, AWatchTellsTheStartAndEachChange) {
  agent_.Start();
  agent_.Set("team/key", 1, "one");
  Events events;
  const auto client = Connect();
  const auto handle = client->Watch({"team/key"}, events.Callback(), Quick());
  EXPECT_EQ(events.Next(), "value team/key 1 one");
  EXPECT_EQ(events.Next(), "synced");
  agent_.Set("team/key", 2, "two");
  EXPECT_EQ(events.Next(), "value team/key 2 two");
  agent_.Delete("team/key");
  EXPECT_EQ(events.Next(), "deleted team/key");
}

TEST_F(ClientTest, AWatchResumesAfterARestartWithoutTellingAVersionTwice) {
  agent_.Start();
  agent_.Set("team/same", 5, "same");
  agent_.Set("team/new", 1, "one");
  Events events;
  const auto client = Connect();
  const auto handle = client->Watch({"team/same", "team/new"}, events.Callback(), Quick());
  EXPECT_EQ(events.Next(), "value team/same 5 same");
  EXPECT_EQ(events.Next(), "value team/new 1 one");
  EXPECT_EQ(events.Next(), "synced");
  agent_.Stop();
  EXPECT_EQ(events.Next(), "disconnected");
  agent_.Set("team/new", 2, "two");
  agent_.Start();
  EXPECT_EQ(events.Next(), "value team/new 2 two");
  EXPECT_EQ(events.Next(), "synced");
  EXPECT_EQ(agent_.watches().back().seen().at("team/same"), 5u);
}

TEST_F(ClientTest, AWatchOfWhatDoesNotExistEnds) {
  agent_.Start();
  Events events;
  const auto client = Connect();
  const auto handle = client->Watch({"team/none"}, events.Callback(), Quick());
  EXPECT_EQ(events.Next(), "ended");
  EXPECT_TRUE(absl::IsNotFound(events.last().status));
}

TEST_F(ClientTest, AWatchThatKeepsGoingFollowsTheOthersAndTriesAgain) {
  agent_.Start();
  agent_.Set("team/key", 1, "one");
  WatchOptions options = Quick();
  options.keep_going_when_refused = true;
  Events events;
  const auto client = Connect();
  const auto handle = client->Watch({"team/none", "team/key"}, events.Callback(), options);
  EXPECT_EQ(events.Next(), "refused team/none");
  EXPECT_EQ(events.Next(), "value team/key 1 one");
  EXPECT_EQ(events.Next(), "synced");
  agent_.Set("team/none", 1, "late");
  std::string event = events.Next();
  while (event == "synced") event = events.Next();  // one for each round
  EXPECT_EQ(event, "value team/none 1 late");
}

TEST_F(ClientTest, AWatchCanEndItselfInItsCallback) {
  agent_.Start();
  agent_.Set("team/key", 1, "one");
  const auto client = Connect();
  absl::Notification ended;
  std::unique_ptr<WatchHandle> handle;
  absl::Notification assigned;
  handle = client->Watch(
      {"team/key"},
      [&](const WatchEvent&) {
        assigned.WaitForNotification();
        if (handle == nullptr) return;
        handle = nullptr;
        ended.Notify();
      },
      Quick());
  assigned.Notify();
  EXPECT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

TEST_F(ClientTest, TheCacheServesFromMemory) {
  agent_.Start();
  agent_.Set("team/key", 1, "one");
  CachedCredentials cache(Connect(), {"team/key"}, {.watch = Quick()});
  agent_.AwaitSynced(1);
  // At most the first is a call: the watch may still be on its way into the cache.
  ASSERT_TRUE(cache.Current("team/key").ok());
  const int calls = agent_.get_calls();
  for (int i = 0; i < 100; ++i) EXPECT_EQ((*cache.Current("team/key"))->version, 1u);
  EXPECT_EQ(agent_.get_calls(), calls);
  agent_.Stop();  // away: the last value is still good
  EXPECT_EQ((*cache.Current("team/key"))->value().Reveal(), "one");
}

TEST_F(ClientTest, TheCacheAsksWhenItsValueHasExpired) {
  agent_.Start();
  const absl::Time expiry = absl::FromUnixSeconds(4'000'000'000);
  agent_.Set("team/key", 1, "one", expiry);
  absl::Mutex mutex;
  absl::Time now = expiry - absl::Seconds(1);
  CacheOptions options;
  options.watch = Quick();
  options.now = [&] {
    absl::MutexLock lock(&mutex);
    return now;
  };
  CachedCredentials cache(Connect(), {"team/key"}, std::move(options));
  ASSERT_TRUE(cache.Current("team/key").ok());
  const int calls = agent_.get_calls();
  ASSERT_TRUE(cache.Current("team/key").ok());
  EXPECT_EQ(agent_.get_calls(), calls);
  {
    absl::MutexLock lock(&mutex);
    now = expiry;
  }
  ASSERT_TRUE(cache.Current("team/key").ok());
  EXPECT_EQ(agent_.get_calls(), calls + 1);
}

TEST_F(ClientTest, TheCacheForgetsWhatIsRefused) {
  agent_.Start();
  CachedCredentials cache(Connect(), {"team/none"}, {.watch = Quick()});
  EXPECT_TRUE(absl::IsNotFound(cache.Current("team/none").status()));
  EXPECT_TRUE(absl::IsNotFound(cache.Current("team/outside").status()));
}

TEST_F(ClientTest, AcknowledgesAVersion) {
  agent_.Start();
  agent_.Set("team/key", 2, "two");
  const auto client = Connect();
  EXPECT_EQ(client->Acknowledge("team/key", 1).value(), 2u);
  EXPECT_THAT(agent_.acknowledgements(), ElementsAre("team/key 1"));
  EXPECT_TRUE(absl::IsNotFound(client->Acknowledge("team/none", 1).status()));
}

TEST_F(ClientTest, TheCacheAcknowledgesTheKeysThatAreRead) {
  agent_.Start();
  agent_.Set("team/another", 5, "a token");
  v1::Credential key;
  key.set_name("team/key");
  key.set_kind(v1::API_KEY);
  key.set_version(1);
  agent_.SetCredential(key);
  CachedCredentials cache(Connect(), {"team/another", "team/key"}, {.watch = Quick()});
  ASSERT_TRUE(cache.Current("team/another").ok());
  ASSERT_TRUE(cache.Current("team/key").ok());
  ASSERT_TRUE(agent_.AwaitAcknowledgements(1));
  key.set_version(2);
  agent_.SetCredential(key);
  while ((*cache.Current("team/key"))->version != 2) std::this_thread::yield();
  ASSERT_TRUE(agent_.AwaitAcknowledgements(2));
  EXPECT_EQ(agent_.acknowledgements().front(), "team/key 1");
  while (agent_.acknowledgements().back() != "team/key 2") std::this_thread::yield();
}

}  // namespace
}  // namespace keyturn

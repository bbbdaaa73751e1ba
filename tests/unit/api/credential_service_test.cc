// SPDX-License-Identifier: Apache-2.0
// The Credentials service over a real socket: answers, errors, waiting and giving up.
#include "agent/api/credential_service.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "agent/base/error.h"
#include "tests/unit/api/api_fixture.h"

namespace keyturn::api {
namespace {

using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

class CredentialServiceTest : public ApiTest {};

TEST_F(CredentialServiceTest, GetGivesTheValue) {
  AllowMe({"a/*"});
  Publish("a/b", 3, "hush");
  auto stub = Services();
  v1::GetResponse response;
  const grpc::Status status = Get(*stub, "a/b", &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.credential().name(), "a/b");
  EXPECT_EQ(response.credential().version(), 3u);
  ASSERT_EQ(response.credential().fields_size(), 1);
  EXPECT_EQ(response.credential().fields(0).value(), "hush");
  ASSERT_EQ(audit_.events().size(), 1u);
  EXPECT_EQ(audit_.events()[0].rule, "test-policy");
  EXPECT_EQ(audit_.events()[0].version, 3u);
  EXPECT_EQ(audit_.events()[0].result, "OK");
}

TEST_F(CredentialServiceTest, OneRecordForOneValueOnOneConnection) {
  AllowMe({"**"});
  Publish("a/b", 1, "one");
  auto stub = Services();
  v1::GetResponse response;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Get(*stub, "a/b", &response).ok());
  EXPECT_EQ(audit_.events().size(), 1u);
  Publish("a/b", 2, "two");
  ASSERT_TRUE(Get(*stub, "a/b", &response).ok());
  EXPECT_EQ(audit_.events().size(), 2u);
  ASSERT_TRUE(Get(*Services(), "a/b", &response).ok());
  EXPECT_EQ(audit_.events().size(), 3u);
}

TEST_F(CredentialServiceTest, ADenialSaysWhoMayNotDoWhatAndNotWhetherItExists) {
  AllowMe({"other/*"});
  Publish("a/b", 1, "hush");
  auto stub = Services();
  v1::GetResponse response;
  const grpc::Status there = Get(*stub, "a/b", &response);
  const grpc::Status not_there = Get(*stub, "a/c", &response);
  EXPECT_EQ(there.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(there.error_message(),
              HasSubstr(absl::StrCat("no policy lets unix:uid=", geteuid())));
  EXPECT_THAT(there.error_message(), HasSubstr("read \"a/b\""));
  EXPECT_THAT(there.error_message(), HasSubstr("keyturn apply"));
  std::string other = not_there.error_message();
  EXPECT_EQ(other.replace(other.find("a/c"), 3, "a/b"), there.error_message());

  const Details details = DetailsOf(there);
  ASSERT_TRUE(details.error.has_value());
  EXPECT_EQ(details.error->reason(), "POLICY_DENIED");
  EXPECT_EQ(details.error->domain(), "keyturn");
  EXPECT_EQ(details.error->metadata().at("credential"), "a/b");
  EXPECT_EQ(details.error->metadata().at("action"), "read");

  ASSERT_EQ(audit_.events().size(), 2u);
  EXPECT_FALSE(audit_.events()[0].allowed);
  EXPECT_EQ(audit_.events()[0].result, "PERMISSION_DENIED");
}

TEST_F(CredentialServiceTest, NoSuchCredential) {
  AllowMe({"**"});
  v1::GetResponse response;
  const grpc::Status status = Get(*Services(), "a/b", &response);
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  ASSERT_TRUE(DetailsOf(status).error.has_value());
  EXPECT_EQ(DetailsOf(status).error->reason(), "NO_SUCH_CREDENTIAL");
}

TEST_F(CredentialServiceTest, WhatIsNoNameIsInvalid) {
  AllowMe({"**"});
  auto stub = Services();
  v1::GetResponse response;
  for (const char* name : {"", "A/b", "a//b", "a/../b", "a b"}) {
    EXPECT_EQ(Get(*stub, name, &response).error_code(), StatusCode::INVALID_ARGUMENT) << name;
  }
  EXPECT_TRUE(audit_.events().empty());
}

TEST_F(CredentialServiceTest, ANegativeMinRemainingIsInvalid) {
  AllowMe({"**"});
  Publish("a/b", 1, "hush");
  grpc::ClientContext context;
  v1::GetRequest request;
  request.set_name("a/b");
  request.mutable_min_remaining()->set_seconds(-1);
  v1::GetResponse response;
  EXPECT_EQ(Services()->Get(&context, request, &response).error_code(),
            StatusCode::INVALID_ARGUMENT);
}

TEST_F(CredentialServiceTest, PolicyChangesReachOpenConnections) {
  Publish("a/b", 1, "hush");
  auto stub = Services();
  v1::GetResponse response;
  EXPECT_EQ(Get(*stub, "a/b", &response).error_code(), StatusCode::PERMISSION_DENIED);
  AllowMe({"a/b"});
  EXPECT_TRUE(Get(*stub, "a/b", &response).ok());
  AllowMe({});
  EXPECT_EQ(Get(*stub, "a/b", &response).error_code(), StatusCode::PERMISSION_DENIED);
}

TEST_F(CredentialServiceTest, AGetWaitsForTheRefresh) {
  AllowMe({"**"});
  PublishToken("a/token", 1, "old", absl::ZeroDuration());
  grpc::Status status;
  v1::GetResponse response;
  std::thread caller([&] { status = Get(*Services(), "a/token", &response); });
  lifecycle_.AwaitWaiters("a/token", 1);
  PublishToken("a/token", 2, "new", absl::Hours(1));
  lifecycle_.EndFlight("a/token", absl::OkStatus());
  caller.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.credential().version(), 2u);
  EXPECT_EQ(response.credential().fields(0).value(), "new");
}

TEST_F(CredentialServiceTest, AFailedRefreshIsUnavailableWithARetryTime) {
  AllowMe({"**"});
  PublishToken("a/token", 1, "old", absl::ZeroDuration());
  grpc::Status status;
  v1::GetResponse response;
  std::thread caller([&] { status = Get(*Services(), "a/token", &response); });
  lifecycle_.AwaitWaiters("a/token", 1);
  lifecycle_.EndFlight(
      "a/token", base::WithRetry(
                     base::WithReason(absl::UnavailableError("upstream is down"), "REFRESH_FAILED"),
                     absl::Milliseconds(2500)));
  caller.join();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  const Details details = DetailsOf(status);
  ASSERT_TRUE(details.error.has_value() && details.retry.has_value());
  EXPECT_EQ(details.error->reason(), "REFRESH_FAILED");
  EXPECT_EQ(details.retry->retry_delay().seconds(), 2);
  EXPECT_EQ(details.retry->retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(audit_.events().back().result, "UNAVAILABLE");
}

TEST_F(CredentialServiceTest, TheDeadlineEndsTheWaitNotTheFlight) {
  AllowMe({"**"});
  PublishToken("a/token", 1, "old", absl::ZeroDuration());
  auto stub = Services();
  v1::GetResponse response;
  EXPECT_EQ(Get(*stub, "a/token", &response, absl::Milliseconds(300)).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  // The connection is as good as before.
  PublishToken("a/token", 2, "new", absl::Hours(1));
  EXPECT_TRUE(Get(*stub, "a/token", &response).ok());
}

TEST_F(CredentialServiceTest, AnAnswerToACallerWhoLeftIsHarmless) {
  AllowMe({"**"});
  PublishToken("a/token", 1, "old", absl::ZeroDuration());
  auto stub = Services();
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_name("a/token");
    v1::GetResponse response;
    grpc::Status status;
    std::thread caller([&] { status = stub->Get(&context, request, &response); });
    lifecycle_.AwaitWaiters("a/token", 1);
    // Both at once: either may win, nobody may crash.
    context.TryCancel();
    lifecycle_.EndFlight("a/token", absl::UnavailableError("late"));
    caller.join();
    EXPECT_FALSE(status.ok());
  }
}

TEST_F(CredentialServiceTest, ABatchHasAResultForEachNameInOrder) {
  AllowMe({"a/*"});
  Publish("a/one", 1, "1");
  PublishToken("a/slow", 1, "old", absl::ZeroDuration());
  PublishToken("a/slower", 1, "old", absl::ZeroDuration());
  v1::BatchGetRequest request;
  for (const char* name : {"a/one", "b/denied", "a/slow", "a/missing", "BAD", "a/slower"}) {
    request.add_names(name);
  }
  v1::BatchGetResponse response;
  grpc::Status status;
  std::thread caller([&] {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(20));
    status = Services()->BatchGet(&context, request, &response);
  });
  lifecycle_.AwaitWaiters("a/slow", 1);
  lifecycle_.AwaitWaiters("a/slower", 1);
  PublishToken("a/slow", 2, "new", absl::Hours(1));
  lifecycle_.EndFlight("a/slow", absl::OkStatus());
  lifecycle_.EndFlight("a/slower", absl::UnavailableError("no"));
  caller.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 6);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(response.results(i).name(), request.names(i));
  EXPECT_EQ(response.results(0).credential().fields(0).value(), "1");
  EXPECT_EQ(response.results(1).failure().code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(response.results(1).failure().reason(), "POLICY_DENIED");
  EXPECT_EQ(response.results(2).credential().version(), 2u);
  EXPECT_EQ(response.results(3).failure().code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(response.results(4).failure().code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(response.results(5).failure().code(), StatusCode::UNAVAILABLE);
}

TEST_F(CredentialServiceTest, ABatchHasBounds) {
  AllowMe({"**"});
  auto stub = Services();
  for (const int count : {0, 101}) {
    v1::BatchGetRequest request;
    for (int i = 0; i < count; ++i) request.add_names("a");
    grpc::ClientContext context;
    v1::BatchGetResponse response;
    EXPECT_EQ(stub->BatchGet(&context, request, &response).error_code(),
              StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(CredentialServiceTest, ARequestOverTheCapIsRefused) {
  AllowMe({"**"});
  v1::GetResponse response;
  EXPECT_EQ(Get(*Services(), std::string(70'000, 'a'), &response).error_code(),
            StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(CredentialServiceTest, WhoAmITellsWhatTheKernelSaid) {
  AllowMe({"a/*"});
  grpc::ClientContext context;
  v1::WhoAmIResponse me;
  ASSERT_TRUE(Services()->WhoAmI(&context, {}, &me).ok());
  EXPECT_EQ(me.uid(), geteuid());
  EXPECT_EQ(me.gid(), getegid());
  EXPECT_EQ(me.pid(), getpid());
  EXPECT_FALSE(me.admin());
  ASSERT_EQ(me.grants_size(), 1);
  EXPECT_EQ(me.grants(0).policy(), "test-policy");
  EXPECT_THAT(me.grants(0).actions(), ElementsAre("read"));
  EXPECT_THAT(me.grants(0).names(), ElementsAre("a/*"));

  grpc::ClientContext on_admin;
  ASSERT_TRUE(v1::Credentials::NewStub(Connect(admin_path()))->WhoAmI(&on_admin, {}, &me).ok());
  EXPECT_TRUE(me.admin());
  EXPECT_EQ(me.grants(0).policy(), "builtin:admin-socket");
}

// --- Watch

class WatchTest : public ApiTest {
 protected:
  using Reader = std::unique_ptr<grpc::ClientReader<v1::WatchResponse>>;
  Reader Watch(const v1::WatchRequest& request) {
    SetDeadline(context_, absl::Seconds(30));
    return stub_->Watch(&context_, request);
  }
  // `a/b@3=hush`, `synced`, `deleted a/b`, or `end CODE`.
  static std::string Next(Reader& reader) {
    v1::WatchResponse message;
    if (!reader->Read(&message)) return absl::StrCat("end ", reader->Finish().error_code());
    if (message.has_synced()) return "synced";
    if (message.has_deleted()) return "deleted " + message.deleted().name();
    const v1::Credential& credential = message.credential();
    return absl::StrCat(credential.name(), "@", credential.version(), "=",
                        credential.fields(0).value());
  }
  static v1::WatchRequest For(const std::vector<std::string>& names) {
    v1::WatchRequest request;
    for (const std::string& name : names) request.add_names(name);
    return request;
  }

  std::unique_ptr<v1::Credentials::Stub> stub_ = Services();
  grpc::ClientContext context_;
};

TEST_F(WatchTest, FirstWhatThereIsThenWhatChanges) {
  AllowMe({"a/*"});
  Publish("a/b", 1, "one");
  Publish("a/c", 5, "five");
  Reader reader = Watch(For({"a/b", "a/c", "a/b"}));
  EXPECT_EQ(Next(reader), "a/b@1=one");
  EXPECT_EQ(Next(reader), "a/c@5=five");
  EXPECT_EQ(Next(reader), "synced");
  Publish("a/c", 6, "six");
  EXPECT_EQ(Next(reader), "a/c@6=six");
  Publish("a/other", 1, "x");
  Publish("a/c", 6, "six");  // nothing new
  Publish("a/b", 2, "two");
  EXPECT_EQ(Next(reader), "a/b@2=two");
  publisher_.Withdraw("a/b");
  EXPECT_EQ(Next(reader), "deleted a/b");
  Publish("a/b", 9, "again");
  EXPECT_EQ(Next(reader), "a/b@9=again");
  context_.TryCancel();
  EXPECT_EQ(Next(reader), absl::StrCat("end ", StatusCode::CANCELLED));
}

TEST_F(WatchTest, ResumesFromWhatWasSeen) {
  AllowMe({"a/*"});
  Publish("a/same", 1, "x");
  Publish("a/newer", 4, "four");
  v1::WatchRequest request = For({"a/same", "a/newer", "a/gone"});
  (*request.mutable_seen())["a/same"] = 1;
  (*request.mutable_seen())["a/newer"] = 3;
  (*request.mutable_seen())["a/gone"] = 2;
  Reader reader = Watch(request);
  EXPECT_EQ(Next(reader), "a/newer@4=four");
  EXPECT_EQ(Next(reader), "deleted a/gone");
  EXPECT_EQ(Next(reader), "synced");
}

TEST_F(WatchTest, EveryNameMustExistAndBeAllowed) {
  AllowMe({"a/*"});
  Publish("a/b", 1, "x");
  Publish("b/c", 1, "x");
  Reader denied = Watch(For({"a/b", "b/c"}));
  EXPECT_EQ(Next(denied), absl::StrCat("end ", StatusCode::PERMISSION_DENIED));
  grpc::ClientContext context;
  Reader missing = stub_->Watch(&context, For({"a/missing"}));
  EXPECT_EQ(Next(missing), absl::StrCat("end ", StatusCode::NOT_FOUND));
  grpc::ClientContext other;
  Reader none = stub_->Watch(&other, For({}));
  EXPECT_EQ(Next(none), absl::StrCat("end ", StatusCode::INVALID_ARGUMENT));
}

TEST_F(WatchTest, WhatHasNoValueYetIsSentWhenItGetsOne) {
  AllowMe({"a/*"});
  PublishToken("a/token", 1, "old", absl::ZeroDuration());
  Reader reader = Watch(For({"a/token"}));
  EXPECT_EQ(Next(reader), "synced");
  PublishToken("a/token", 2, "new", absl::Hours(1));
  EXPECT_EQ(Next(reader), "a/token@2=new");
}

TEST_F(WatchTest, EndsWhenThePolicyIsTakenAway) {
  AllowMe({"a/*"});
  Publish("a/b", 1, "one");
  Reader reader = Watch(For({"a/b"}));
  EXPECT_EQ(Next(reader), "a/b@1=one");
  EXPECT_EQ(Next(reader), "synced");
  AllowMe({});
  Publish("a/b", 2, "two");
  EXPECT_EQ(Next(reader), absl::StrCat("end ", StatusCode::PERMISSION_DENIED));
}

TEST_F(WatchTest, ASlowReaderSkipsToTheNewest) {
  AllowMe({"a/*"});
  const std::string padding(60'000, '.');
  Publish("a/b", 1, padding);
  Reader reader = Watch(For({"a/b"}));
  constexpr uint64_t kLast = 400;  // 24 MB: far more than the transport takes unread
  for (uint64_t version = 2; version <= kLast; ++version) Publish("a/b", version, padding);
  uint64_t last = 0;
  int messages = 0;
  v1::WatchResponse message;
  while (last < kLast && reader->Read(&message)) {
    if (!message.has_credential()) continue;
    EXPECT_GT(message.credential().version(), last);
    last = message.credential().version();
    ++messages;
  }
  EXPECT_EQ(last, kLast);
  EXPECT_LT(messages, 300);
}

TEST_F(WatchTest, WritersAndLeaversAtTheSameTime) {
  AllowMe({"a/*"});
  Publish("a/b", 1, "x");
  absl::Notification stop;
  std::thread writer([&] {
    for (uint64_t version = 2; !stop.HasBeenNotified(); ++version) Publish("a/b", version, "x");
  });
  for (int i = 0; i < 100; ++i) {
    grpc::ClientContext context;
    Reader reader = stub_->Watch(&context, For({"a/b"}));
    v1::WatchResponse message;
    for (int reads = i % 4; reads > 0; --reads) EXPECT_TRUE(reader->Read(&message));
    context.TryCancel();
    while (reader->Read(&message)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  }
  stop.Notify();
  writer.join();
}

}  // namespace
}  // namespace keyturn::api

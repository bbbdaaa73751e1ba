// SPDX-License-Identifier: Apache-2.0
// Who was given which version, as the lifecycle is told, and acknowledgements, over real sockets.
#include <gmock/gmock.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/unit/api/api_fixture.h"

namespace keyturn::api {
namespace {

using grpc::StatusCode;
using testing::ElementsAre;
using testing::IsEmpty;

class DeliveriesTest : public ApiTest {
 protected:
  static std::string WhoAmI(v1::Credentials::Stub& stub) {
    grpc::ClientContext context;
    v1::WhoAmIResponse who;
    EXPECT_TRUE(stub.WhoAmI(&context, {}, &who).ok());
    return who.principal();
  }
  // `NAME VERSION PRINCIPAL`, each once: at the turn of a minute a delivery is told again.
  std::set<std::string> Deliveries() const {
    std::set<std::string> all;
    for (const lifecycle::Delivery& delivery : lifecycle_.deliveries()) {
      EXPECT_FALSE(delivery.acknowledged);
      EXPECT_GT(delivery.at, absl::UnixEpoch());
      all.insert(absl::StrCat(delivery.credential, " ", delivery.version, " ", delivery.principal));
    }
    return all;
  }
  static grpc::Status Acknowledge(v1::Credentials::Stub& stub, const std::string& name,
                                  uint64_t version, v1::AcknowledgeResponse* response) {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(20));
    v1::AcknowledgeRequest request;
    request.set_name(name);
    request.set_version(version);
    return stub.Acknowledge(&context, request, response);
  }
};

TEST_F(DeliveriesTest, AVersionIsToldOfOnceAConnection) {
  AllowMe({"**"});
  Publish("a/b", 1, "one");
  auto stub = Services();
  const std::string me = WhoAmI(*stub);
  v1::GetResponse response;
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(Get(*stub, "a/b", &response).ok());
  EXPECT_THAT(Deliveries(), ElementsAre(absl::StrCat("a/b 1 ", me)));
  EXPECT_LE(lifecycle_.deliveries().size(), 3u);
  Publish("a/b", 2, "two");
  ASSERT_TRUE(Get(*stub, "a/b", &response).ok());
  EXPECT_THAT(Deliveries(), ElementsAre(absl::StrCat("a/b 1 ", me), absl::StrCat("a/b 2 ", me)));
}

TEST_F(DeliveriesTest, VersionsThatComeBackAreToldOfAgain) {
  AllowMe({"**"});
  auto stub = Services();
  v1::GetResponse response;
  for (const uint64_t version : {1u, 2u, 1u}) {
    Publish("a/b", version, "value");
    ASSERT_TRUE(Get(*stub, "a/b", &response).ok());
  }
  ASSERT_GE(lifecycle_.deliveries().size(), 3u);
  EXPECT_EQ(lifecycle_.deliveries().back().version, 1u);
}

TEST_F(DeliveriesTest, BatchesAndWatchesAreDeliveriesToo) {
  AllowMe({"a/*"});
  Publish("a/batch", 1, "x");
  Publish("a/watch", 1, "x");
  Publish("b/denied", 1, "x");
  auto stub = Services();
  const std::string me = WhoAmI(*stub);
  grpc::ClientContext batch;
  v1::BatchGetRequest names;
  for (const char* name : {"a/batch", "a/none", "b/denied"}) names.add_names(name);
  v1::BatchGetResponse results;
  ASSERT_TRUE(stub->BatchGet(&batch, names, &results).ok());
  EXPECT_THAT(Deliveries(), ElementsAre(absl::StrCat("a/batch 1 ", me)));

  grpc::ClientContext watch;
  SetDeadline(watch, absl::Seconds(30));
  v1::WatchRequest request;
  request.add_names("a/watch");
  const auto reader = stub->Watch(&watch, request);
  v1::WatchResponse message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_THAT(hub_.Watching("a/watch"), ElementsAre(me));
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_TRUE(message.has_synced());
  Publish("a/watch", 2, "y");
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_THAT(Deliveries(),
              ElementsAre(absl::StrCat("a/batch 1 ", me), absl::StrCat("a/watch 1 ", me),
                          absl::StrCat("a/watch 2 ", me)));
  watch.TryCancel();
  while (reader->Read(&message)) {
  }
}

TEST_F(DeliveriesTest, AWatchThatResumesTellsWhatItsReaderHas) {
  AllowMe({"**"});
  Publish("a/b", 4, "x");
  auto stub = Services();
  grpc::ClientContext watch;
  SetDeadline(watch, absl::Seconds(30));
  v1::WatchRequest request;
  request.add_names("a/b");
  (*request.mutable_seen())["a/b"] = 4;
  const auto reader = stub->Watch(&watch, request);
  v1::WatchResponse message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_TRUE(message.has_synced());
  EXPECT_THAT(Deliveries(), ElementsAre(absl::StrCat("a/b 4 ", WhoAmI(*stub))));
  watch.TryCancel();
  while (reader->Read(&message)) {
  }
}

TEST_F(DeliveriesTest, TokensAreNotToldOf) {
  AllowMe({"**"});
  PublishToken("a/token", 1, "x", absl::Hours(1));
  auto stub = Services();
  v1::GetResponse response;
  ASSERT_TRUE(Get(*stub, "a/token", &response).ok());
  EXPECT_THAT(Deliveries(), IsEmpty());
}

TEST_F(DeliveriesTest, WhoMayReadMayAcknowledge) {
  AllowMe({"a/*"});
  auto stub = Services();
  v1::AcknowledgeResponse response;
  ASSERT_TRUE(Acknowledge(*stub, "a/b", 3, &response).ok());
  EXPECT_EQ(response.current_version(), 9u);
  EXPECT_THAT(lifecycle_.calls(), ElementsAre(absl::StrCat("Acknowledge a/b 3 ", WhoAmI(*stub))));
  EXPECT_EQ(Acknowledge(*stub, "b/c", 3, &response).error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Acknowledge(*stub, "No Name", 3, &response).error_code(), StatusCode::INVALID_ARGUMENT);
  lifecycle_.FailWith(absl::InvalidArgumentError("no such version"));
  EXPECT_EQ(Acknowledge(*stub, "a/b", 8, &response).error_code(), StatusCode::INVALID_ARGUMENT);
  const auto events = audit_.events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].method, "Acknowledge");
  EXPECT_EQ(events[0].version, 3u);
  EXPECT_FALSE(events[1].allowed);
  EXPECT_EQ(events[2].result, "INVALID_ARGUMENT");
}

TEST_F(DeliveriesTest, AnAnswerToAnAcknowledgerWhoLeftIsHarmless) {
  AllowMe({"**"});
  lifecycle_.Hold();
  {
    auto stub = Services();
    grpc::ClientContext context;
    SetDeadline(context, absl::Milliseconds(50));
    v1::AcknowledgeRequest request;
    request.set_name("a/b");
    request.set_version(1);
    v1::AcknowledgeResponse response;
    EXPECT_EQ(stub->Acknowledge(&context, request, &response).error_code(),
              StatusCode::DEADLINE_EXCEEDED);
  }
  lifecycle_.AwaitHeld(1);
  lifecycle_.Let();
  auto stub = Services();
  v1::AcknowledgeResponse response;
  EXPECT_TRUE(Acknowledge(*stub, "a/b", 1, &response).ok());
}

}  // namespace
}  // namespace keyturn::api

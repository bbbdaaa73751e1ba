// SPDX-License-Identifier: Apache-2.0
// The Admin service over a real socket, on a lifecycle that records what it is asked.
#include "agent/api/admin_service.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel_posix.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "agent/base/error.h"
#include "tests/fakes/socket_peer.h"
#include "tests/unit/api/api_fixture.h"

namespace keyturn::api {
namespace {

using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

class AdminServiceTest : public ApiTest {
 protected:
  v1::PutRequest PutOf(const std::string& name, const std::string& value) {
    v1::PutRequest request;
    request.set_name(name);
    request.add_fields()->set_value(value);
    return request;
  }
  grpc::ClientContext context_;
};

TEST_F(AdminServiceTest, AChangeIsDoneAndRecorded) {
  v1::PutResponse response;
  const grpc::Status status = Admin()->Put(&context_, PutOf("a/b", "hush"), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.version(), 7u);
  EXPECT_EQ(lifecycle_.last_put_value(), "hush");
  ASSERT_EQ(audit_.events().size(), 1u);
  const audit::Event event = audit_.events()[0];
  EXPECT_EQ(event.method, "Put");
  EXPECT_EQ(event.name, "a/b");
  EXPECT_EQ(event.version, 7u);
  EXPECT_EQ(event.rule, "builtin:admin-socket");
  EXPECT_EQ(event.result, "OK");
}

TEST_F(AdminServiceTest, AFailureKeepsItsReason) {
  lifecycle_.FailWith(
      base::WithReason(absl::InvalidArgumentError("k.yaml:3:1: unknown key"), "BAD_RESOURCE"));
  v1::ApplyResponse response;
  const grpc::Status status = Admin()->Apply(&context_, {}, &response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "k.yaml:3:1: unknown key");
  EXPECT_EQ(DetailsOf(status).error->reason(), "BAD_RESOURCE");
  EXPECT_EQ(audit_.events().back().result, "INVALID_ARGUMENT");
}

TEST_F(AdminServiceTest, ALoginIsRecordedWithItsCredentialWhateverComesOfIt) {
  v1::FinishLoginRequest request;
  request.set_name("a/b");
  request.set_login_id("login-1");
  v1::FinishLoginResponse response;
  ASSERT_TRUE(Admin()->FinishLogin(&context_, request, &response).ok());
  ASSERT_EQ(audit_.events().size(), 1u);
  EXPECT_EQ(audit_.events()[0].method, "FinishLogin");
  EXPECT_EQ(audit_.events()[0].name, "a/b");
  EXPECT_EQ(audit_.events()[0].version, 1u);
  lifecycle_.FailWith(base::WithReason(absl::PermissionDeniedError("denied"), "LOGIN_DENIED"));
  grpc::ClientContext second;
  EXPECT_EQ(Admin()->FinishLogin(&second, request, &response).error_code(),
            StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(audit_.events().back().name, "a/b");
  EXPECT_EQ(audit_.events().back().result, "PERMISSION_DENIED");
}

TEST_F(AdminServiceTest, LooksAreNotRecorded) {
  auto stub = Admin();
  v1::ListResponse list;
  ASSERT_TRUE(stub->List(&context_, {}, &list).ok());
  EXPECT_EQ(list.credentials(0).name(), "a/b");
  grpc::ClientContext second;
  v1::ApplyResponse plan;
  ASSERT_TRUE(stub->Plan(&second, {}, &plan).ok());
  grpc::ClientContext third;
  v1::CalendarRequest ahead;
  ahead.set_match("a/*");
  v1::CalendarResponse calendar;
  ASSERT_TRUE(stub->Calendar(&third, ahead, &calendar).ok());
  EXPECT_EQ(calendar.entries(0).what(), "rotation");
  EXPECT_TRUE(audit_.events().empty());
  EXPECT_THAT(lifecycle_.calls(), ElementsAre("List", "Plan", "Calendar a/*"));
}

TEST_F(AdminServiceTest, StatusTellsAboutTheProcess) {
  v1::StatusResponse response;
  ASSERT_TRUE(Admin()->Status(&context_, {}, &response).ok());
  EXPECT_EQ(response.version(), KEYTURN_VERSION);
  EXPECT_EQ(response.credentials(), 2u);
  EXPECT_EQ(response.connections(), 1u);
  EXPECT_EQ(response.store_path(), "/store.db");
  EXPECT_GT(response.started_at().seconds(), 1'700'000'000);
}

TEST_F(AdminServiceTest, ADryRunIsNoChangeToRecord) {
  v1::RotateRequest request;
  request.set_name("a/b");
  request.set_dry_run(true);
  auto reader = Admin()->Rotate(&context_, request);
  v1::RotateResponse step;
  while (reader->Read(&step)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(audit_.events().empty());
  EXPECT_THAT(lifecycle_.calls(), ElementsAre("Rotate a/b"));
}

TEST_F(AdminServiceTest, RotateStreamsTheStates) {
  v1::RotateRequest request;
  request.set_name("a/b");
  auto reader = Admin()->Rotate(&context_, request);
  std::vector<std::string> states;
  v1::RotateResponse step;
  while (reader->Read(&step)) states.push_back(step.state());
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(states, ElementsAre("creating", "verifying", "promoted"));
  EXPECT_EQ(audit_.events().back().method, "Rotate");
}

TEST_F(AdminServiceTest, AChangeGoesOnAndIsRecordedWhenTheCallerLeaves) {
  lifecycle_.Hold();
  auto stub = Admin();
  v1::RotateRequest rotate;
  rotate.set_name("a/b");
  auto reader = stub->Rotate(&context_, rotate);
  grpc::ClientContext second;
  v1::PutResponse response;
  grpc::Status put;
  std::thread caller([&] { put = stub->Put(&second, PutOf("a/c", "x"), &response); });
  lifecycle_.AwaitHeld(2);
  context_.TryCancel();
  second.TryCancel();
  caller.join();
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_EQ(put.error_code(), StatusCode::CANCELLED);
  stub.reset();
  server_.Drain(absl::ZeroDuration());
  lifecycle_.Let();
  absl::Notification done;
  executor_.Post([&] { done.Notify(); });
  done.WaitForNotification();
  ASSERT_EQ(audit_.events().size(), 2u);
  EXPECT_EQ(audit_.events()[0].result, "OK");
}

TEST_F(AdminServiceTest, WhatIsNoNameIsInvalid) {
  v1::DescribeRequest request;
  request.set_name("Not/a name");
  v1::DescribeResponse response;
  EXPECT_EQ(Admin()->Describe(&context_, request, &response).error_code(),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(lifecycle_.calls().empty());
}

TEST_F(AdminServiceTest, AnotherUserHasThePowerThatPolicyGives) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  ASSERT_EQ(chmod(admin_path().c_str(), 0666), 0);  // as an operator who shares the socket would
  policies_.Replace(
      authz::PolicySet({{"team", {{12345, -1}}, {authz::Action::kAdmin}, {"team/**"}}}));
  fakes::SocketPeer peer(admin_path(), 12345);
  const int fd = peer.TakeFd();
  ASSERT_GE(fd, 0);
  auto stub = v1::Admin::NewStub(grpc::CreateInsecureChannelFromFd("peer", fd));
  v1::PutResponse response;
  EXPECT_TRUE(stub->Put(&context_, PutOf("team/x", "1"), &response).ok());
  grpc::ClientContext second;
  const grpc::Status denied = stub->Put(&second, PutOf("other/x", "2"), &response);
  EXPECT_EQ(denied.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(denied.error_message(), HasSubstr("administer \"other/x\""));
  // Providers and policies concern everybody.
  v1::DeleteRequest request;
  request.set_type("policy");
  request.set_name("team/x");
  grpc::ClientContext third;
  v1::DeleteResponse deleted;
  EXPECT_EQ(stub->Delete(&third, request, &deleted).error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(lifecycle_.calls(), ElementsAre("Put team/x"));
  ASSERT_EQ(audit_.events().size(), 3u);
  EXPECT_EQ(audit_.events()[0].rule, "team");
  EXPECT_FALSE(audit_.events()[1].allowed);
  EXPECT_EQ(audit_.events()[2].result, "PERMISSION_DENIED");
}

}  // namespace
}  // namespace keyturn::api

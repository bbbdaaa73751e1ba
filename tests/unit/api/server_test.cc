// SPDX-License-Identifier: Apache-2.0
// The sockets: who is let in, for how long, and how it all ends.
#include "agent/api/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/generic/generic_stub.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/api/listening_socket.h"
#include "tests/fakes/socket_peer.h"
#include "tests/unit/api/api_fixture.h"

namespace keyturn::api {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class ServerTest : public ApiTest {
 protected:
  using ApiTest::ApiTest;

  // Bytes in, bytes out, as for services whose generated code is not at hand.
  static grpc::Status Call(const std::string& path, const std::string& method,
                           const std::string& request, std::string* response);
  // Blocks until the server has closed this socket: it reads as ended.
  static void AwaitClosed(int fd) {
    char bytes[4096];
    for (;;) {
      const ssize_t count = recv(fd, bytes, sizeof(bytes), 0);
      if (count == 0 || (count < 0 && errno == ECONNRESET)) return;
      ASSERT_GT(count, 0) << strerror(errno);
    }
  }
  static void SetBlocking(int fd) {
    timeval patience{20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  }
  static size_t OpenFiles() {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd")) {
      ++count;
    }
    return count;
  }
  void AwaitConnections(size_t count) {
    while (server_.connections() != count) std::this_thread::yield();
  }
};

grpc::Status ServerTest::Call(const std::string& path, const std::string& method,
                              const std::string& request, std::string* response) {
  grpc::GenericStub stub(Connect(path));
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(20));
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  next();
  grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  next();
  grpc::ByteBuffer received;
  call->Read(&received, nullptr);
  if (next()) {
    std::vector<grpc::Slice> slices;
    received.Dump(&slices);
    response->clear();
    for (const grpc::Slice& part : slices) {
      response->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  queue.Shutdown();
  return status;
}

constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";
const std::string kServing("\x08\x01", 2);

TEST_F(ServerTest, HealthOnBothSockets) {
  std::string response;
  EXPECT_TRUE(Call(services_path(), kHealthCheck, "", &response).ok());
  EXPECT_EQ(response, kServing);
  EXPECT_TRUE(Call(admin_path(), kHealthCheck, "", &response).ok());
  EXPECT_EQ(response, kServing);
}

TEST_F(ServerTest, ReflectionOnTheAdminSocketOnly) {
  constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  const std::string list_services("\x3a\x00", 2);
  std::string response;
  const grpc::Status on_admin = Call(admin_path(), kReflection, list_services, &response);
  EXPECT_TRUE(on_admin.ok()) << on_admin.error_message();
  EXPECT_THAT(response, HasSubstr("keyturn.v1.Admin"));
  EXPECT_THAT(response, HasSubstr("keyturn.v1.Credentials"));
  EXPECT_EQ(Call(services_path(), kReflection, list_services, &response).error_code(),
            StatusCode::UNIMPLEMENTED);
}

TEST_F(ServerTest, TheAdminServiceIsNotOnTheServicesSocket) {
  grpc::ClientContext context;
  v1::StatusResponse response;
  EXPECT_EQ(
      v1::Admin::NewStub(Connect(services_path()))->Status(&context, {}, &response).error_code(),
      StatusCode::UNIMPLEMENTED);
}

TEST_F(ServerTest, TheSocketsHaveTheirModes) {
  struct stat info {};
  ASSERT_EQ(stat(services_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0666u);
  ASSERT_EQ(stat(admin_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(ServerTest, AnotherUserIsWhoTheKernelSays) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Publish("a/b", 1, "hush");
  AllowMe({"**"});
  fakes::SocketPeer peer(services_path(), 12345);
  const int fd = peer.TakeFd();
  ASSERT_GE(fd, 0);
  auto stub = v1::Credentials::NewStub(grpc::CreateInsecureChannelFromFd("peer", fd));
  grpc::ClientContext context;
  v1::WhoAmIResponse who;
  ASSERT_TRUE(stub->WhoAmI(&context, {}, &who).ok());
  EXPECT_EQ(who.uid(), 12345u);
  EXPECT_EQ(who.gid(), 12345u);
  EXPECT_EQ(who.pid(), peer.pid());
  v1::GetResponse response;
  const grpc::Status status = Get(*stub, "a/b", &response);
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("unix:uid=12345,gid=12345"));
}

TEST_F(ServerTest, EachUserIsAConsumerOfItsOwn) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  policies_.Replace(
      authz::PolicySet({{"all", {{0, -1}, {12345, -1}}, {authz::Action::kRead}, {"**"}}}));
  Publish("a/b", 1, "hush");
  fakes::SocketPeer peer(services_path(), 12345);
  const int fd = peer.TakeFd();
  ASSERT_GE(fd, 0);
  auto theirs = v1::Credentials::NewStub(grpc::CreateInsecureChannelFromFd("peer", fd));
  v1::GetResponse response;
  ASSERT_TRUE(Get(*theirs, "a/b", &response).ok());
  ASSERT_TRUE(Get(*Services(), "a/b", &response).ok());
  const auto deliveries = lifecycle_.deliveries();
  ASSERT_EQ(deliveries.size(), 2u);
  EXPECT_EQ(deliveries[0].principal, absl::StrCat("unix:uid=12345,gid=12345,pid=", peer.pid()));
  EXPECT_THAT(deliveries[1].principal, testing::EndsWith(absl::StrCat(",pid=", getpid())));
}

TEST_F(ServerTest, TheOverflowUidIsTurnedAway) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  fakes::SocketPeer peer(services_path(), 65534);
  const int fd = peer.TakeFd();
  ASSERT_GE(fd, 0);
  SetBlocking(fd);
  AwaitClosed(fd);
  close(fd);
  // A turned-away caller sees only a closed socket; the log is where its owner finds out why.
  log_.AwaitLine("uid 65534 stands for users without a mapping");
}

TEST_F(ServerTest, TheConnectionEndsWithTheProcessThatMadeIt) {
  fakes::SocketPeer peer(services_path());
  const int fd = peer.TakeFd();
  ASSERT_GE(fd, 0);
  AwaitConnections(1);
  peer.Exit();  // this process still holds the socket
  SetBlocking(fd);
  AwaitClosed(fd);
  close(fd);
  AwaitConnections(0);
}

TEST_F(ServerTest, NoDescriptorStaysBehind) {
  AllowMe({"**"});
  Publish("a/b", 1, "hush");
  v1::GetResponse warm_up;
  ASSERT_TRUE(Get(*Services(), "a/b", &warm_up).ok());
  AwaitConnections(0);
  const size_t before = OpenFiles();
  std::vector<std::thread> threads;
  std::atomic<int> served{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        v1::GetResponse response;
        if (Get(*Services(), "a/b", &response).ok()) ++served;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, 200);
  AwaitConnections(0);
  // gRPC opens a few for itself as it needs more threads.
  EXPECT_LE(OpenFiles(), before + 8);
}

TEST_F(ServerTest, DrainEndsWatchesAtOnceAndWaitsForCalls) {
  AllowMe({"**"});
  Publish("a/b", 1, "hush");
  PublishToken("a/token", 1, "old", absl::ZeroDuration());
  auto stub = Services();
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.add_names("a/b");
  auto watch = stub->Watch(&context, request);
  v1::WatchResponse message;
  ASSERT_TRUE(watch->Read(&message));
  ASSERT_TRUE(watch->Read(&message));
  grpc::Status got;
  v1::GetResponse response;
  std::thread caller([&] { got = Get(*Services(), "a/token", &response); });
  lifecycle_.AwaitWaiters("a/token", 1);

  std::thread drain([&] { server_.Drain(absl::Seconds(60)); });
  EXPECT_FALSE(watch->Read(&message));
  EXPECT_EQ(watch->Finish().error_code(), StatusCode::UNAVAILABLE);
  // The call in progress is still answered.
  PublishToken("a/token", 2, "new", absl::Hours(1));
  lifecycle_.EndFlight("a/token", absl::OkStatus());
  caller.join();
  EXPECT_TRUE(got.ok()) << got.error_message();
  drain.join();
  EXPECT_FALSE(std::filesystem::exists(services_path()));
  EXPECT_FALSE(std::filesystem::exists(admin_path()));
  EXPECT_EQ(server_.connections(), 0u);
}

TEST_F(ServerTest, DrainCancelsWhatIsLeftAtItsDeadline) {
  AllowMe({"**"});
  PublishToken("a/token", 1, "old", absl::ZeroDuration());
  grpc::Status got;
  v1::GetResponse response;
  std::thread caller([&] { got = Get(*Services(), "a/token", &response, std::nullopt); });
  lifecycle_.AwaitWaiters("a/token", 1);
  server_.Drain(absl::Milliseconds(50));
  caller.join();
  EXPECT_FALSE(got.ok());
  // The answer that comes now finds nobody.
  lifecycle_.EndFlight("a/token", absl::OkStatus());
}

TEST_F(ServerTest, ASecondServerOnTheSamePathIsRefused) {
  const auto second = ListeningSocket::Open(services_path(), 0600);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another process listens on"));
  std::string response;
  EXPECT_TRUE(Call(services_path(), kHealthCheck, "", &response).ok());
}

// --- Caps

class CappedTest : public ServerTest {
 protected:
  CappedTest() : ServerTest(ConnectionLimits{8, 3, 1000, 1000}) {}
};

TEST_F(CappedTest, OneUidHasItsShare) {
  std::vector<std::unique_ptr<fakes::SocketPeer>> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(std::make_unique<fakes::SocketPeer>(services_path()));
  AwaitConnections(3);
  fakes::SocketPeer fourth(services_path());
  const int refused = fourth.TakeFd();
  ASSERT_GE(refused, 0);
  SetBlocking(refused);
  AwaitClosed(refused);
  close(refused);
  log_.AwaitLine("the uid has too many connections");
  if (geteuid() == 0) {
    fakes::SocketPeer other(services_path(), 12345);
    AwaitConnections(4);
  }
  // More after a reload, and after one has left.
  server_.SetLimits(ConnectionLimits{8, 4, 1000, 1000});
  AwaitConnections(3);
  fakes::SocketPeer fifth(services_path());
  AwaitConnections(4);
  peers.clear();
  AwaitConnections(1);
}

// --- Listening sockets

class ListeningSocketTest : public testing::Test {
 protected:
  fakes::TemporaryDirectory directory_;
};

TEST_F(ListeningSocketTest, ReplacesWhatADeadProcessLeft) {
  const std::string path = directory_.File("s");
  {
    absl::StatusOr<ListeningSocket> first = ListeningSocket::Open(path, 0600);
    ASSERT_TRUE(first.ok()) << first.status();
    // As after a crash: the file stays, nobody listens.
    std::filesystem::rename(path, directory_.File("kept"));
  }
  std::filesystem::rename(directory_.File("kept"), path);
  const absl::StatusOr<ListeningSocket> second = ListeningSocket::Open(path, 0600);
  EXPECT_TRUE(second.ok()) << second.status();
}

TEST_F(ListeningSocketTest, LeavesOtherFilesAlone) {
  const std::string path = directory_.File("s");
  std::filesystem::create_directory(path);
  const absl::Status status = ListeningSocket::Open(path, 0600).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not a socket"));
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(ListeningSocketTest, SaysThatAPathIsTooLong) {
  const absl::Status status = ListeningSocket::Open("/tmp/" + std::string(120, 'x'), 0600).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("125 bytes; the system allows 107"));
}

TEST_F(ListeningSocketTest, SaysWhichDirectoryIsMissing) {
  const std::string path = directory_.File("missing/s");
  const absl::Status status = ListeningSocket::Open(path, 0600).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
}

}  // namespace
}  // namespace keyturn::api

// SPDX-License-Identifier: Apache-2.0
// Who the kernel says the peer of a socket is, also when that peer is another user.
#include "agent/authn/unix_peer.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/socket_peer.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::authn {
namespace {

class UnixPeerTest : public testing::Test {
 protected:
  UnixPeerTest() : path_(directory_.path() + "/s") {
    EXPECT_EQ(chmod(directory_.path().c_str(), 0755), 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    listening_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(listening_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(chmod(path_.c_str(), 0666), 0);
    EXPECT_EQ(listen(listening_, 8), 0);
  }
  ~UnixPeerTest() override {
    close(listening_);
    if (accepted_ >= 0) close(accepted_);
  }
  int Accept() { return accepted_ = accept(listening_, nullptr, nullptr); }

  fakes::TemporaryDirectory directory_;
  const std::string path_;
  int listening_ = -1;
  int accepted_ = -1;
};

TEST_F(UnixPeerTest, TellsWhoConnectedNotWhoHoldsTheSocket) {
  fakes::SocketPeer child(path_);
  const absl::StatusOr<UnixPeer> peer = IdentifyUnixPeer(Accept());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->principal.uid, geteuid());
  EXPECT_EQ(peer->principal.gid, getegid());
  EXPECT_EQ(peer->principal.pid, child.pid());
  EXPECT_NE(peer->principal.pid, getpid());
}

TEST_F(UnixPeerTest, AnotherUid) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  fakes::SocketPeer child(path_, 12345);
  const absl::StatusOr<UnixPeer> peer = IdentifyUnixPeer(Accept());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->principal.uid, 12345u);
  EXPECT_EQ(peer->principal.gid, 12345u);
  EXPECT_TRUE(peer->principal.groups.empty());
}

TEST_F(UnixPeerTest, TheOverflowUidIsNobody) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  fakes::SocketPeer child(path_, kOverflowUid);
  EXPECT_EQ(IdentifyUnixPeer(Accept()).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(UnixPeerTest, ThePidfdShowsTheExit) {
  fakes::SocketPeer child(path_);
  absl::StatusOr<UnixPeer> peer = IdentifyUnixPeer(Accept());
  ASSERT_TRUE(peer.ok()) << peer.status();
  ASSERT_TRUE(peer->process.valid());
  pollfd watch{peer->process.pidfd(), POLLIN, 0};
  EXPECT_EQ(poll(&watch, 1, 0), 0);
  child.Exit();
  EXPECT_EQ(poll(&watch, 1, 10'000), 1);
}

TEST_F(UnixPeerTest, APeerThatIsGoneIsNotLetIn) {
  fakes::SocketPeer child(path_);
  const int fd = Accept();
  child.Exit();
  const absl::StatusOr<UnixPeer> peer = IdentifyUnixPeer(fd);
  // Either refused at once, or held by a pidfd that shows the exit.
  if (peer.ok()) {
    ASSERT_TRUE(peer->process.valid());
    pollfd watch{peer->process.pidfd(), POLLIN, 0};
    EXPECT_EQ(poll(&watch, 1, 0), 1);
  } else {
    EXPECT_EQ(peer.status().code(), absl::StatusCode::kUnauthenticated);
  }
}

TEST_F(UnixPeerTest, WhatIsNoSocketIsAnError) {
  EXPECT_EQ(IdentifyUnixPeer(STDERR_FILENO).status().code(), absl::StatusCode::kInternal);
}

TEST(UserNamesTest, KnowsRootAndNotEverybody) {
  fakes::SimulatedClock clock;
  UserNames names(clock);
  EXPECT_EQ(names.Of(0), "root");
  EXPECT_EQ(names.Of(3'999'999'999), "");
}

TEST(PrincipalTest, Text) {
  Principal principal;
  principal.uid = 1000;
  principal.gid = 100;
  principal.pid = 7;
  EXPECT_EQ(principal.ToString(), "unix:uid=1000,gid=100,pid=7");
  principal.user = "support";
  EXPECT_EQ(principal.ToString(), "unix:uid=1000,user=support,gid=100,pid=7");
}

}  // namespace
}  // namespace keyturn::authn

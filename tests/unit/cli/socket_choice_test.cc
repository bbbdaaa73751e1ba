// SPDX-License-Identifier: Apache-2.0
// Which socket is chosen, on a real file system, and how values are read from a pipe.
#include "client/cli/socket_choice.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/secret_input.h"
#include "client/lib/socket_probe.h"
#include "tests/fakes/fake_agent.h"

namespace keyturn::cli {
namespace {

class SocketChoiceTest : public ::testing::Test {
 protected:
  SocketChoiceTest() {
    places_.system_directory = Directory("run", 0755);
    places_.runtime_directory = Directory("user", 0700);
    places_.temporary_directory = Directory("tmp", 0755);
    places_.uid = geteuid();
  }
  ~SocketChoiceTest() override {
    for (const int fd : sockets_) close(fd);
  }

  std::string Directory(const std::string& name, mode_t mode) {
    std::string path = directory_.File(name);
    mkdir(path.c_str(), mode);
    chmod(path.c_str(), mode);
    return path;
  }
  // A bound socket; listening only when asked for.
  std::string Socket(const std::string& path, bool listening = false) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0) << path;
    if (listening) {
      EXPECT_EQ(listen(fd, 1), 0);
    }
    sockets_.push_back(fd);
    return path;
  }

  fakes::SocketDirectory directory_;
  SocketPlaces places_;
  std::vector<int> sockets_;
};

TEST_F(SocketChoiceTest, OptionComesBeforeEnvironmentBeforeFiles) {
  const std::string system = Socket(places_.system_directory + "/admin.sock");
  EXPECT_EQ(ChooseAdminSocket(places_), system);
  places_.admin_environment = "/from/environment";
  EXPECT_EQ(ChooseAdminSocket(places_), "/from/environment");
  places_.admin_option = "/from/option";
  EXPECT_EQ(ChooseAdminSocket(places_), "/from/option");
}

TEST_F(SocketChoiceTest, ADevelopmentAgentIsFoundWhenThereIsNoOther) {
  EXPECT_EQ(ChooseAdminSocket(places_), places_.system_directory + "/admin.sock");
  const std::string temporary =
      places_.temporary_directory + "/keyturn-dev-" + std::to_string(places_.uid);
  mkdir(temporary.c_str(), 0700);
  Socket(temporary + "/admin.sock");
  EXPECT_EQ(ChooseAdminSocket(places_), temporary + "/admin.sock");
  const std::string runtime = Directory("user/keyturn-dev", 0700);
  Socket(runtime + "/admin.sock");
  EXPECT_EQ(ChooseAdminSocket(places_), runtime + "/admin.sock");
}

TEST_F(SocketChoiceTest, ADirectoryThatOthersCouldHaveMadeIsNotTrusted) {
  const std::string runtime = Directory("user/keyturn-dev", 0700);
  Socket(runtime + "/admin.sock");
  ASSERT_EQ(ChooseAdminSocket(places_), runtime + "/admin.sock");
  chmod(runtime.c_str(), 0755);
  EXPECT_EQ(ChooseAdminSocket(places_), places_.system_directory + "/admin.sock");
  chmod(runtime.c_str(), 0700);
  places_.uid += 1;  // somebody else looks
  EXPECT_EQ(ChooseAdminSocket(places_), places_.system_directory + "/admin.sock");
  places_.uid -= 1;
  std::filesystem::rename(runtime, directory_.File("moved"));
  std::filesystem::create_symlink(directory_.File("moved"), runtime);
  EXPECT_EQ(ChooseAdminSocket(places_), places_.system_directory + "/admin.sock");
}

TEST_F(SocketChoiceTest, ServicesUseTheAdminSocketOnlyWhenItIsOpenToThem) {
  EXPECT_EQ(ChooseServicesSocket(places_), places_.system_directory + "/keyturn.sock");
  const std::string admin = Socket(places_.system_directory + "/admin.sock");
  EXPECT_EQ(ChooseServicesSocket(places_), admin);
  places_.services_environment = "/from/environment";
  EXPECT_EQ(ChooseServicesSocket(places_), "/from/environment");
  places_.admin_option = "/admin/option";
  EXPECT_EQ(ChooseServicesSocket(places_), "/admin/option");
  places_.services_option = "/services/option";
  EXPECT_EQ(ChooseServicesSocket(places_), "/services/option");
}

TEST_F(SocketChoiceTest, TheProbeTellsWhatIsWrong) {
  using client::ProbeSocket;
  using client::SocketState;
  EXPECT_EQ(ProbeSocket(directory_.File("none")), SocketState::kAbsent);
  EXPECT_EQ(ProbeSocket(Socket(directory_.File("bound"))), SocketState::kNobodyListens);
  const std::string listening = Socket(directory_.File("listening"), true);
  EXPECT_EQ(ProbeSocket(listening), SocketState::kListening);
  EXPECT_EQ(ProbeSocket("/" + std::string(200, 'x')), SocketState::kBroken);
}

// What ReadValue makes of bytes that arrive through a pipe.
absl::StatusOr<SecretString> ThroughPipe(const std::string& bytes) {
  int fds[2];
  EXPECT_EQ(pipe(fds), 0);
  std::thread writer([&bytes, fd = fds[1]] {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t count = write(fd, bytes.data() + sent, bytes.size() - sent);
      if (count <= 0) break;
      sent += static_cast<size_t>(count);
    }
    close(fd);
  });
  absl::StatusOr<SecretString> value = ReadValue(fds[0]);
  // What was not read must not block the writer.
  std::string rest(4096, '\0');
  while (read(fds[0], rest.data(), rest.size()) > 0) {
  }
  close(fds[0]);
  writer.join();
  return value;
}

TEST(SecretInputTest, TakesOffExactlyOneLineBreak) {
  EXPECT_EQ(ThroughPipe("value")->Reveal(), "value");
  EXPECT_EQ(ThroughPipe("value\n")->Reveal(), "value");
  EXPECT_EQ(ThroughPipe("value\r\n")->Reveal(), "value");
  EXPECT_EQ(ThroughPipe("value\n\n")->Reveal(), "value\n");
  EXPECT_EQ(ThroughPipe(" value ")->Reveal(), " value ");
  EXPECT_TRUE(ThroughPipe("")->empty());
}

TEST(SecretInputTest, RefusesWhatIsTooLong) {
  EXPECT_EQ(ThroughPipe(std::string(kFieldBytesMax, 'x') + "\n")->size(), kFieldBytesMax);
  EXPECT_TRUE(absl::IsInvalidArgument(ThroughPipe(std::string(kFieldBytesMax + 1, 'x')).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ThroughPipe(std::string(1 << 20, 'x')).status()));
}

}  // namespace
}  // namespace keyturn::cli

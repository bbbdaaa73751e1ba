// SPDX-License-Identifier: Apache-2.0
// The test's process has threads when it forks: the child makes system calls and nothing else.
#include "tests/fakes/socket_peer.h"

#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace keyturn::fakes {
namespace {

// Room for one descriptor in a message.
union Control {
  char bytes[CMSG_SPACE(sizeof(int))];
  cmsghdr align;
};

[[noreturn]] void RunChild(const sockaddr_un& address, long uid, int control) {
  // What is inherited would keep other connections and other peers alive.
  if (control > 3) syscall(SYS_close_range, 3u, static_cast<unsigned>(control) - 1, 0u);
  syscall(SYS_close_range, static_cast<unsigned>(control) + 1, ~0u, 0u);
  // The bare system calls: the library's versions want to tell threads that a fork does not have.
  if (uid >= 0 && (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setgid, uid) != 0 ||
                   syscall(SYS_setuid, uid) != 0)) {
    _exit(2);
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    _exit(3);
  }
  char byte = 'x';
  iovec part{&byte, 1};
  Control room{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.bytes;
  message.msg_controllen = sizeof(room.bytes);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  if (sendmsg(control, &message, 0) != 1) _exit(4);
  while (read(control, &byte, 1) > 0) {
  }
  _exit(0);
}

int Receive(int control) {
  char byte = 0;
  iovec part{&byte, 1};
  Control room{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.bytes;
  message.msg_controllen = sizeof(room.bytes);
  if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) != 1) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd = -1;
  memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

}  // namespace

SocketPeer::SocketPeer(const std::string& path, std::optional<uid_t> uid) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  const long as = uid.has_value() ? static_cast<long>(*uid) : -1;
  pid_ = fork();
  if (pid_ == 0) {
    close(ends[0]);
    RunChild(address, as, ends[1]);
  }
  close(ends[1]);
  control_ = ends[0];
  fd_ = Receive(control_);
}

SocketPeer::~SocketPeer() {
  Exit();
  if (fd_ >= 0) close(fd_);
}

int SocketPeer::TakeFd() { return std::exchange(fd_, -1); }

void SocketPeer::Exit() {
  if (pid_ <= 0) return;
  close(control_);
  waitpid(std::exchange(pid_, -1), nullptr, 0);
}

}  // namespace keyturn::fakes

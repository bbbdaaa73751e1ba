// SPDX-License-Identifier: Apache-2.0
#include "agent/api/peer_server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>
#include <vector>

#include "agent/base/check.h"

namespace keyturn::api {
namespace {

// Keys of what epoll watches: two fixed ones, then two for each connection.
constexpr uint64_t kListenKey = 0;
constexpr uint64_t kWakeKey = 1;
uint64_t SocketKey(uint64_t id) { return id * 2; }
uint64_t ProcessKey(uint64_t id) { return id * 2 + 1; }
uint64_t IdOf(uint64_t key) { return key / 2; }

constexpr int kAcceptBatch = 64;
// When the process is out of descriptors or memory, until the next attempt.
constexpr int kPauseMs = 100;
constexpr absl::Duration kRefusedLogEvery = absl::Seconds(10);
constexpr size_t kDrainThreads = 8;

bool AddToEpoll(int epoll_fd, int fd, uint32_t events, uint64_t key) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

PeerServer::PeerServer(ListeningSocket socket, Options options, Factory factory, observe::Log& log,
                       const base::Clock& clock)
    : options_(std::move(options)),
      factory_(std::move(factory)),
      log_(log),
      clock_(clock),
      limits_(options_.limits),
      epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      socket_(std::move(socket)),
      user_names_(clock),
      refused_logged_(clock.BootNow() - kRefusedLogEvery) {
  KEYTURN_CHECK(epoll_fd_ >= 0 && wake_fd_ >= 0, "no descriptors at start");
  KEYTURN_CHECK(AddToEpoll(epoll_fd_, socket_.fd(), EPOLLIN, kListenKey), "epoll refuses a socket");
  KEYTURN_CHECK(AddToEpoll(epoll_fd_, wake_fd_, EPOLLIN, kWakeKey), "epoll refuses an eventfd");
}

void PeerServer::Start() {
  absl::MutexLock lock(&drain_mu_);
  is_serving_ = true;
  accepting_ = std::thread([this] { AcceptLoop(); });
  reaping_ = std::thread([this] { ReapLoop(); });
}

PeerServer::~PeerServer() {
  Drain(absl::ZeroDuration());
  close(epoll_fd_);
  close(wake_fd_);
}

void PeerServer::AcceptLoop() {
  pthread_setname_np(pthread_self(), "kt-accept");
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()),
                                 is_paused_ ? kPauseMs : -1);
    if (is_paused_ && count >= 0) {
      is_paused_ = false;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = kListenKey;
      epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, socket_.fd(), &event);
    }
    for (int i = 0; i < count; ++i) {
      const uint64_t key = events[static_cast<size_t>(i)].data.u64;
      if (key == kWakeKey) {
        socket_.Close();
        return;
      }
      if (key == kListenKey) {
        AcceptSome();
      } else {
        Bury(IdOf(key));
      }
    }
  }
}

// The socket stays readable while nothing can be accepted: without a pause the loop would spin.
void PeerServer::PauseAccepting() {
  epoll_event event{};
  event.data.u64 = kListenKey;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, socket_.fd(), &event);
  is_paused_ = true;
}

void PeerServer::AcceptSome() {
  for (int i = 0; i < kAcceptBatch; ++i) {
    // gRPC needs it non-blocking.
    const int fd = accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      Serve(fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      Refused(std::nullopt, std::generic_category().message(errno));
      PauseAccepting();
      return;
    } else if (errno != ECONNABORTED && errno != EINTR) {
      return;
    }
  }
}

// Takes `fd`.
void PeerServer::Serve(int fd) {
  absl::StatusOr<authn::UnixPeer> peer = authn::IdentifyUnixPeer(fd);
  if (!peer.ok()) {
    close(fd);
    if (peer.status().code() != absl::StatusCode::kUnauthenticated) {
      Refused(std::nullopt, peer.status().message());
    }
    return;
  }
  authn::Principal& principal = peer->principal;
  const AcceptLimits::Verdict verdict = limits_.Admit(principal.uid, clock_.BootNow());
  if (verdict != AcceptLimits::Verdict::kAdmitted) {
    close(fd);
    Refused(principal.uid, AcceptLimits::Words(verdict));
    return;
  }
  principal.user = user_names_.Of(principal.uid);
  principal.admin_socket = options_.admin_socket;

  const uint64_t id = next_id_++;
  Connection& connection = connections_[id];
  connection.uid = principal.uid;
  connection.process = std::move(peer->process);
  connection.watch_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (connection.watch_fd >= 0) {
    connection.server = ConnectionServer::Start(fd, factory_(principal), options_.connection);
  } else {
    close(fd);
  }
  if (connection.server == nullptr || !Watch(id, connection)) {
    Refused(principal.uid, "cannot serve the connection");
    Bury(id);
  }
}

bool PeerServer::Watch(uint64_t id, const Connection& connection) {
  if (!AddToEpoll(epoll_fd_, connection.watch_fd, EPOLLRDHUP, SocketKey(id))) return false;
  return !connection.process.valid() ||
         AddToEpoll(epoll_fd_, connection.process.pidfd(), EPOLLIN, ProcessKey(id));
}

void PeerServer::Refused(std::optional<uid_t> uid, absl::string_view cause) {
  ++refused_;
  const base::BootTime now = clock_.BootNow();
  if (now - refused_logged_ < kRefusedLogEvery) return;
  observe::LogFields fields = {{"socket", options_.name}, {"cause", cause}, {"count", refused_}};
  if (uid) fields.push_back({"uid", static_cast<uint32_t>(*uid)});
  log_.Write(observe::Level::kWarning, "connections_refused", fields);
  refused_ = 0;
  refused_logged_ = now;
}

// Also called a second time for one that is gone already, when socket and process end together.
void PeerServer::Bury(uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection connection = std::move(found->second);
  connections_.erase(found);
  if (connection.watch_fd >= 0) {
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, connection.watch_fd, nullptr);
    // A peer whose process died while another holds the socket must see the end at once.
    shutdown(connection.watch_fd, SHUT_RDWR);
    // Left open it would keep the socket alive after gRPC closed its own.
    close(std::exchange(connection.watch_fd, -1));
  }
  if (connection.process.valid()) {
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, connection.process.pidfd(), nullptr);
  }
  absl::MutexLock lock(&mu_);
  dead_.push_back(std::move(connection));
}

void PeerServer::ReapLoop() {
  pthread_setname_np(pthread_self(), "kt-reap");
  for (;;) {
    Connection connection;
    {
      absl::MutexLock lock(&mu_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return is_stopping_ || !dead_.empty();
      };
      mu_.Await(absl::Condition(&has_work));
      if (dead_.empty()) return;
      connection = std::move(dead_.front());
      dead_.pop_front();
    }
    const uid_t uid = connection.uid;
    connection = Connection();  // shuts the server down, closes the pidfd
    limits_.Release(uid);
  }
}

void PeerServer::ShutAll(absl::Time deadline) {
  std::vector<Connection*> all;
  for (auto& [id, connection] : connections_) all.push_back(&connection);
  for (Connection* connection : all) connection->server->BeginDrain();
  // Each waits for its own calls; in turn, one slow call would hold up the farewell to the others.
  std::atomic<size_t> next{0};
  const auto shut = [&] {
    for (size_t i = next++; i < all.size(); i = next++) all[i]->server->Shutdown(deadline);
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(kDrainThreads, all.size()); ++i) threads.emplace_back(shut);
  shut();
  for (std::thread& thread : threads) thread.join();
}

void PeerServer::Drain(absl::Duration timeout) {
  absl::MutexLock lock(&drain_mu_);
  if (!std::exchange(is_serving_, false)) return;
  const uint64_t one = 1;
  KEYTURN_CHECK(write(wake_fd_, &one, sizeof(one)) == sizeof(one), "eventfd does not take a one");
  accepting_.join();
  ShutAll(clock_.WallNow() + timeout);
  while (!connections_.empty()) Bury(connections_.begin()->first);
  {
    absl::MutexLock stop(&mu_);
    is_stopping_ = true;
  }
  reaping_.join();
}

}  // namespace keyturn::api

// SPDX-License-Identifier: Apache-2.0
// Serves one unix socket: accepts, asks the kernel who connected, and gives every connection a gRPC
// server of its own whose services know the caller. A connection ends when the peer hangs up or
// when the process that made it exits, also if another process inherited the socket.
// One thread accepts and watches, one takes dead connections apart. Thread-safe.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/node_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/api/accept_limits.h"
#include "agent/api/connection_server.h"
#include "agent/api/listening_socket.h"
#include "agent/authn/principal.h"
#include "agent/authn/unix_peer.h"
#include "agent/base/clock.h"
#include "agent/observe/log.h"

namespace keyturn::api {

class PeerServer {
 public:
  // Makes what a connection of this principal is served with. Called from the accepting thread.
  using Factory = std::function<std::unique_ptr<PeerServices>(const authn::Principal&)>;
  struct Options {
    std::string name;  // of the socket, in logs
    bool admin_socket = false;
    ConnectionLimits limits;
    ConnectionSettings connection;
  };

  PeerServer(ListeningSocket socket, Options options, Factory factory, observe::Log& log,
             const base::Clock& clock);
  // Drains without waiting.
  ~PeerServer();
  PeerServer(const PeerServer&) = delete;
  PeerServer& operator=(const PeerServer&) = delete;

  // Serves from here on; until then clients wait in the backlog. Once.
  void Start();

  void SetLimits(const ConnectionLimits& limits) { limits_.Set(limits); }
  size_t connections() const { return limits_.open(); }

  // Refuses new connections, turns health to NOT_SERVING, ends streams, waits for the calls in
  // progress and cancels those that are left after `timeout`. Afterwards nothing runs. Idempotent.
  void Drain(absl::Duration timeout);

 private:
  struct Connection {
    uid_t uid = 0;
    int watch_fd = -1;  // a duplicate of the socket, to see it hang up
    authn::PeerProcess process;
    std::unique_ptr<ConnectionServer> server;
  };

  void AcceptLoop();
  void AcceptSome();
  void Serve(int fd);
  bool Watch(uint64_t id, const Connection& connection);
  // `uid` is nullopt when nobody can say who called.
  void Refused(std::optional<uid_t> uid, absl::string_view cause);
  void Bury(uint64_t id);
  void ReapLoop();
  void ShutAll(absl::Time deadline);
  void PauseAccepting();

  const Options options_;
  const Factory factory_;
  observe::Log& log_;
  const base::Clock& clock_;
  AcceptLimits limits_;
  const int epoll_fd_;
  const int wake_fd_;

  // Of the accepting thread; of Drain when that thread has ended.
  ListeningSocket socket_;
  authn::UserNames user_names_;
  uint64_t next_id_ = 1;
  absl::node_hash_map<uint64_t, Connection> connections_;
  bool is_paused_ = false;
  uint64_t refused_ = 0;
  base::BootTime refused_logged_;

  absl::Mutex mu_;
  bool is_stopping_ ABSL_GUARDED_BY(mu_) = false;
  // Bounded by the limit on connections: they count until they are gone.
  std::deque<Connection> dead_ ABSL_GUARDED_BY(mu_);

  absl::Mutex drain_mu_;
  bool is_serving_ ABSL_GUARDED_BY(drain_mu_) = false;
  std::thread accepting_;
  std::thread reaping_;
};

}  // namespace keyturn::api

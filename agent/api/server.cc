// SPDX-License-Identifier: Apache-2.0
#include "agent/api/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "agent/api/admin_service.h"
#include "agent/api/connection_policy.h"
#include "agent/api/credential_service.h"
#include "agent/api/listening_socket.h"
#include "agent/api/peer_server.h"

namespace keyturn::api {
namespace {

constexpr mode_t kAdminMode = 0600;
constexpr int kAdminReceiveMax = 4 * 1024 * 1024;
// The admin socket has bounds of its own, so that services cannot lock administrators out.
constexpr ConnectionLimits kAdminLimits{128, 128, 500, 250};

// Descriptors: one connection holds three (its socket, a duplicate to watch it, the peer's pidfd);
// some are left for the store, the providers and the admin socket.
constexpr size_t kFdsPerConnection = 3;
constexpr size_t kFdsReserved = 3 * 128 + 128;

class ServicesOfPeer final : public PeerServices {
 public:
  ServicesOfPeer(const Server::Dependencies& dependencies, const AgentFacts& facts,
                 const authn::Principal& principal)
      : policy_(dependencies.policies, principal),
        credentials_({dependencies.resolver, dependencies.watch_hub, dependencies.lifecycle,
                      dependencies.audit, dependencies.clock},
                     policy_) {
    if (principal.admin_socket) {
      admin_.emplace(dependencies.lifecycle, dependencies.audit, facts, policy_);
    }
  }
  std::vector<grpc::Service*> All() override {
    std::vector<grpc::Service*> all{&credentials_};
    if (admin_.has_value()) all.push_back(&*admin_);
    return all;
  }
  void EndStreams() override {
    credentials_.EndStreams();
    if (admin_.has_value()) admin_->EndStreams();
  }

 private:
  ConnectionPolicy policy_;
  CredentialService credentials_;
  std::optional<AdminService> admin_;
};

}  // namespace

struct Server::Running {
  AgentFacts facts;
  std::unique_ptr<PeerServer> services;
  std::unique_ptr<PeerServer> admin;
};

Server::Server(Options options, const Dependencies& dependencies)
    : options_(std::move(options)), dependencies_(dependencies) {}

Server::~Server() { Drain(absl::ZeroDuration()); }

ConnectionLimits Server::Affordable(ConnectionLimits limits) const {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return limits;
  const size_t available = static_cast<size_t>(files.rlim_cur);
  const size_t most =
      available > kFdsReserved + 48 ? (available - kFdsReserved) / kFdsPerConnection : 16;
  if (limits.connections > most) {
    dependencies_.log.Write(observe::Level::kInfo, "connection_limit_lowered",
                            {{"asked", static_cast<uint64_t>(limits.connections)},
                             {"now", static_cast<uint64_t>(most)},
                             {"open_files_limit", static_cast<uint64_t>(available)}});
    limits.connections = most;
  }
  return limits;
}

absl::Status Server::Start() {
  absl::StatusOr<ListeningSocket> services =
      ListeningSocket::Open(options_.services_path, options_.services_mode);
  if (!services.ok()) return services.status();
  absl::StatusOr<ListeningSocket> admin = ListeningSocket::Open(options_.admin_path, kAdminMode);
  if (!admin.ok()) return admin.status();

  running_ = std::make_unique<Running>();
  running_->facts = {dependencies_.clock.WallNow(), options_.store_path,
                     [this] { return connections(); }};
  const PeerServer::Factory factory = [this](const authn::Principal& principal) {
    return std::make_unique<ServicesOfPeer>(dependencies_, running_->facts, principal);
  };
  PeerServer::Options of_admin{"admin", true, kAdminLimits, {}};
  of_admin.connection.receive_bytes_max = kAdminReceiveMax;
  of_admin.connection.reflection = true;
  PeerServer::Options of_services{"services", false, Affordable(options_.services_limits),
                                  ConnectionSettings{}};
  running_->services =
      std::make_unique<PeerServer>(*std::move(services), std::move(of_services), factory,
                                   dependencies_.log, dependencies_.clock);
  running_->admin = std::make_unique<PeerServer>(*std::move(admin), std::move(of_admin), factory,
                                                 dependencies_.log, dependencies_.clock);
  // When both are there: a caller of the one may ask about the other.
  running_->services->Start();
  running_->admin->Start();
  return absl::OkStatus();
}

void Server::SetLimits(const ConnectionLimits& limits) {
  if (running_ != nullptr) running_->services->SetLimits(Affordable(limits));
}

void Server::Drain(absl::Duration timeout) {
  if (running_ == nullptr) return;
  const absl::Time deadline = dependencies_.clock.WallNow() + timeout;
  running_->services->Drain(timeout);
  running_->admin->Drain(std::max(absl::ZeroDuration(), deadline - dependencies_.clock.WallNow()));
}

size_t Server::connections() const {
  if (running_ == nullptr) return 0;
  return running_->services->connections() + running_->admin->connections();
}

}  // namespace keyturn::api

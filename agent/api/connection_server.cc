// SPDX-License-Identifier: Apache-2.0
#include "agent/api/connection_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace keyturn::api {
namespace {

// The reflection library adds itself to every server of a process that loads it. This option has
// the last word on the plugins of one server.
class ReflectionChoice final : public grpc::ServerBuilderOption {
 public:
  explicit ReflectionChoice(bool wanted) : wanted_(wanted) {}
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    auto chosen = std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>();
    const std::string name = chosen->name();
    plugins->erase(std::remove_if(plugins->begin(), plugins->end(),
                                  [&](const auto& plugin) { return plugin->name() == name; }),
                   plugins->end());
    if (wanted_) plugins->push_back(std::move(chosen));
  }

 private:
  const bool wanted_;
};

void EnableHealthService() {
  static std::once_flag once;
  std::call_once(once, [] { grpc::EnableDefaultHealthCheckService(true); });
}

}  // namespace

std::unique_ptr<ConnectionServer> ConnectionServer::Start(int fd,
                                                          std::unique_ptr<PeerServices> services,
                                                          const ConnectionSettings& settings) {
  EnableHealthService();
  grpc::ServerBuilder builder;
  for (grpc::Service* service : services->All()) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(settings.receive_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(settings.idle_max)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, settings.concurrent_calls_max);
  builder.SetOption(std::make_unique<ReflectionChoice>(settings.reflection));
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    close(fd);
    return nullptr;
  }
  grpc::AddInsecureChannelFromFd(server.get(), fd);
  return std::unique_ptr<ConnectionServer>(
      new ConnectionServer(std::move(services), std::move(server)));
}

ConnectionServer::ConnectionServer(std::unique_ptr<PeerServices> services,
                                   std::unique_ptr<grpc::Server> server)
    : services_(std::move(services)), server_(std::move(server)) {}

ConnectionServer::~ConnectionServer() { Shutdown(absl::UnixEpoch()); }

void ConnectionServer::BeginDrain() {
  if (auto* health = server_->GetHealthCheckService(); health != nullptr) health->Shutdown();
  services_->EndStreams();
}

void ConnectionServer::Shutdown(absl::Time deadline) {
  if (std::exchange(is_shut_, true)) return;
  server_->Shutdown(absl::ToChronoTime(deadline));
}

}  // namespace keyturn::api

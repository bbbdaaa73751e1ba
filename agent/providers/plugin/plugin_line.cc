// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/plugin_line.h"

#include <grpcpp/create_channel_posix.h>

#include <climits>

namespace keyturn::providers {
namespace {

constexpr int kReplyBytesMax = 4 << 20;
constexpr int kTimeoutsMax = 3;

}  // namespace

void PluginLine::Attach(int fd, std::function<void()> on_hang) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kReplyBytesMax);
  arguments.SetMaxSendMessageSize(kReplyBytesMax);
  auto connection = std::make_shared<Connection>();
  connection->channel = grpc::CreateCustomInsecureChannelFromFd("plugin", fd, arguments);
  connection->stub = plugin::v1::Provider::NewStub(connection->channel);
  connection->on_hang = std::move(on_hang);
  absl::MutexLock lock(&mu_);
  connection_ = std::move(connection);
}

void PluginLine::Detach() {
  std::shared_ptr<Connection> dropped;  // destroyed without the lock
  absl::MutexLock lock(&mu_);
  dropped.swap(connection_);
}

bool PluginLine::attached() const {
  absl::MutexLock lock(&mu_);
  return connection_ != nullptr;
}

void PluginLine::WaitIdle() {
  const absl::MutexLock lock(&mu_,
                             absl::Condition(
                                 +[](int* under_way) { return *under_way == 0; }, &under_way_));
}

std::shared_ptr<PluginLine::Connection> PluginLine::Begin() {
  absl::MutexLock lock(&mu_);
  if (connection_ != nullptr) ++under_way_;
  return connection_;
}

void PluginLine::End() {
  absl::MutexLock lock(&mu_);
  --under_way_;
}

const char* PluginLine::CauseOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return "";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "timeout";
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
      return "plugin_lost";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "too_large";
    default:
      return "plugin_error";
  }
}

void PluginLine::Count(Connection& connection, const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
    connection.timeouts = 0;
  } else if (++connection.timeouts == kTimeoutsMax) {
    connection.on_hang();
  }
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// The channel's arguments and the waiting around calls.
#include "client/lib/connection.h"

#include <sys/un.h>

#include <algorithm>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/lib/socket_probe.h"

namespace keyturn::client {
namespace {

// A batch of 100 credentials of several fields may exceed gRPC's usual 4 MiB.
constexpr int kReplyBytesMax = 16 * 1024 * 1024;
// How long a busy agent is waited for by those who do not want to wait for an absent one.
constexpr absl::Duration kBusyPatience = absl::Seconds(5);

// gRPC reads the address as a URI.
std::string AddressOf(const std::string& path) {
  std::string address = "unix:";
  for (const char c : path) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '/' || c == '.' || c == '-' ||
        c == '_' || c == '~') {
      address.push_back(c);
    } else {
      absl::StrAppendFormat(&address, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return address;
}

absl::Status CannotReach(const std::string& path, SocketState state) {
  return Unreachable(absl::StrCat("cannot reach the agent at ", path, ": ", Describe(state)),
                     state == SocketState::kDenied);
}

bool Hopeless(SocketState state) {
  return state != SocketState::kListening && state != SocketState::kBusy;
}

}  // namespace

absl::Duration BackoffWithJitter(int attempt, absl::Duration first, absl::Duration last) {
  absl::Duration longest = first;
  for (int i = 0; i < attempt && longest < last; ++i) longest *= 2;
  thread_local absl::InsecureBitGen random;
  return std::min(longest, last) * absl::Uniform(random, 0.5, 1.0);
}

Connection::Connection(std::string socket_path, absl::Duration connect_timeout)
    : socket_path_(std::move(socket_path)), connect_timeout_(connect_timeout) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // The agent knows its caller by the connection: one of our own, never one that is shared.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kReplyBytesMax);
  channel_ = grpc::CreateCustomChannel(AddressOf(socket_path_), grpc::InsecureChannelCredentials(),
                                       arguments);
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Make(std::string socket_path,
                                                             absl::Duration connect_timeout) {
  if (socket_path.empty() || socket_path[0] != '/' || socket_path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", socket_path, "' is not the absolute path of a socket"));
  }
  if (socket_path.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("the socket path '", socket_path,
                                                   "' is longer than a unix socket's may be (",
                                                   sizeof(sockaddr_un::sun_path) - 1, " bytes)"));
  }
  return std::unique_ptr<Connection>(new Connection(std::move(socket_path), connect_timeout));
}

absl::Status Connection::EnsureConnected(absl::Time deadline) {
  if (channel_->GetState(true) == GRPC_CHANNEL_READY) return absl::OkStatus();
  absl::Duration patience = connect_timeout_;
  if (patience <= absl::ZeroDuration()) {
    const SocketState state = ProbeSocket(socket_path_);
    if (Hopeless(state)) return CannotReach(socket_path_, state);
    patience = kBusyPatience;
  }
  const absl::Time until = std::min(deadline, absl::Now() + patience);
  if (channel_->WaitForConnected(absl::ToChronoTime(until))) return absl::OkStatus();
  return CannotReach(socket_path_, ProbeSocket(socket_path_));
}

void Connection::Prepare(grpc::ClientContext& context, absl::Time deadline) {
  // A connection that breaks between the check and the call is made again by gRPC.
  context.set_wait_for_ready(true);
  if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
}

absl::Status Connection::Explain(const absl::Status& status) const {
  if (!absl::IsUnavailable(status) || FromAgent(status)) return status;
  return Unreachable(absl::StrCat("the agent at ", socket_path_,
                                  " went away during the call: ", status.message()));
}

bool Connection::MayRepeat(const absl::Status& status, int attempt, absl::Time deadline) {
  if (!absl::IsUnavailable(status) || FromAgent(status)) return false;
  const absl::Duration pause = BackoffWithJitter(attempt, absl::Milliseconds(20), absl::Seconds(1));
  if (absl::Now() + pause >= deadline) return false;
  absl::SleepFor(pause);
  return true;
}

}  // namespace keyturn::client

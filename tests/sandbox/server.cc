// SPDX-License-Identifier: Apache-2.0
//
// The glue to libmicrohttpd, which calls Handle for the head of a request, for each piece of its
// body, and once more at its end; only then is the request admitted, so a fault never hits half a
// request. Refusing a request there (MHD_NO) closes the connection without a byte of reply, which
// is how a lost reply is made. Runs on libmicrohttpd's threads, one per connection.
#include "tests/sandbox/server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/synchronization/notification.h>
#include <absl/time/clock.h>

#include "tests/sandbox/late_effects.h"
#include "tests/sandbox/service.h"

namespace keyturn::sandbox {
namespace {

constexpr size_t kMaxBodyBytes = 64 * 1024;
constexpr unsigned kMaxConnections = 512;
constexpr unsigned kIdleSeconds = 300;

// One request while it is being received.
struct Incoming {
  Request request;
  bool too_large = false;
};

// A body that is dribbled (`endless` false) or never ends. `stopping` outlives every connection.
struct Trickle {
  std::string body;
  absl::Duration delay;
  const absl::Notification* stopping;
};

ssize_t ReadTrickle(void* closure, uint64_t position, char* buffer, size_t max) {
  const auto* trickle = static_cast<const Trickle*>(closure);
  if (max == 0) return 0;
  if (trickle->stopping->WaitForNotificationWithTimeout(trickle->delay)) {
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  buffer[0] = trickle->body[static_cast<size_t>(position)];
  return 1;
}

ssize_t ReadEndless(void* closure, uint64_t /*position*/, char* buffer, size_t max) {
  const auto* trickle = static_cast<const Trickle*>(closure);
  if (trickle->stopping->HasBeenNotified()) return MHD_CONTENT_READER_END_WITH_ERROR;
  std::memset(buffer, ' ', max);  // JSON allows any amount of it before a value
  return static_cast<ssize_t>(max);
}

void FreeTrickle(void* closure) { delete static_cast<Trickle*>(closure); }

MHD_Result AddHeader(void* closure, MHD_ValueKind /*kind*/, const char* name, const char* value) {
  auto* request = static_cast<Request*>(closure);
  request->headers[absl::AsciiStrToLower(name)] = value == nullptr ? "" : value;
  return MHD_YES;
}

// Leaves percent escapes in the path: the router decodes it segment by segment.
size_t KeepEscapes(void* /*closure*/, MHD_Connection* /*connection*/, char* text) {
  return std::strlen(text);
}

absl::Status SocketError(const char* call) {
  return absl::UnavailableError(absl::StrCat(call, ": ", std::strerror(errno)));
}

absl::StatusOr<int> ListenOnLoopback(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return SocketError("socket");
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const char* failed = nullptr;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) {
    failed = "setsockopt";
  } else if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    failed = "bind";
  } else if (listen(fd, 128) != 0) {
    failed = "listen";
  }
  if (failed == nullptr) return fd;
  const absl::Status status = SocketError(failed);
  close(fd);
  return status;
}

absl::StatusOr<uint16_t> PortOf(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return SocketError("getsockname");
  }
  return ntohs(address.sin_port);
}

class MicrohttpdServer : public Server {
 public:
  explicit MicrohttpdServer(const SandboxOptions& options) : service_(options) {}
  ~MicrohttpdServer() override;
  MicrohttpdServer(const MicrohttpdServer&) = delete;
  MicrohttpdServer& operator=(const MicrohttpdServer&) = delete;

  absl::Status Listen(uint16_t port);
  uint16_t port() const override { return port_; }
  void WaitForLateEffects() override { late_effects_.WaitUntilIdle(); }

 private:
  static MHD_Result Handle(void* closure, MHD_Connection* connection, const char* url,
                           const char* method, const char* version, const char* upload,
                           size_t* upload_size, void** request_state);
  static void Completed(void* closure, MHD_Connection* connection, void** request_state,
                        MHD_RequestTerminationCode why);

  MHD_Result Answer(MHD_Connection* connection, const Request& request);
  MHD_Result ActOut(MHD_Connection* connection, const Request& request, const Fault& fault,
                    uint64_t epoch);
  static MHD_Result Send(MHD_Connection* connection, const Reply& reply);
  MHD_Result SendSlowly(MHD_Connection* connection, const Reply& reply, absl::Duration delay);
  MHD_Result SendEndlessly(MHD_Connection* connection, int status);
  static MHD_Result Queue(MHD_Connection* connection, const Reply& reply, MHD_Response* response);

  Service service_;
  LateEffects late_effects_;
  absl::Notification stopping_;
  MHD_Daemon* daemon_ = nullptr;
  uint16_t port_ = 0;
};

MicrohttpdServer::~MicrohttpdServer() {
  // First the bodies that wait on it, or stopping would wait for them.
  stopping_.Notify();
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

absl::Status MicrohttpdServer::Listen(uint16_t port) {
  absl::StatusOr<int> fd = ListenOnLoopback(port);
  if (!fd.ok()) return fd.status();
  absl::StatusOr<uint16_t> bound = PortOf(*fd);
  if (!bound.ok()) {
    close(*fd);
    return bound.status();
  }
  port_ = *bound;
  daemon_ = MHD_start_daemon(
      MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ITC, 0, nullptr,
      nullptr, &Handle, this, MHD_OPTION_LISTEN_SOCKET, *fd, MHD_OPTION_NOTIFY_COMPLETED,
      &Completed, this, MHD_OPTION_UNESCAPE_CALLBACK, &KeepEscapes, nullptr,
      MHD_OPTION_CONNECTION_LIMIT, kMaxConnections, MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,
      MHD_OPTION_END);
  if (daemon_ != nullptr) return absl::OkStatus();
  close(*fd);
  return absl::UnavailableError("the HTTP server did not start");
}

MHD_Result MicrohttpdServer::Handle(void* closure, MHD_Connection* connection, const char* url,
                                    const char* method, const char* /*version*/, const char* upload,
                                    size_t* upload_size, void** request_state) {
  auto* self = static_cast<MicrohttpdServer*>(closure);
  auto* incoming = static_cast<Incoming*>(*request_state);
  if (incoming == nullptr) {
    incoming = new Incoming;
    incoming->request.method = method;
    incoming->request.path = url;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &AddHeader, &incoming->request);
    *request_state = incoming;
    return MHD_YES;
  }
  if (*upload_size > 0) {
    std::string& body = incoming->request.body;
    if (body.size() + *upload_size > kMaxBodyBytes) incoming->too_large = true;
    if (!incoming->too_large) body.append(upload, *upload_size);
    *upload_size = 0;
    return MHD_YES;
  }
  if (incoming->too_large) {
    return Send(connection, DifyError(413, "too_large", "the body is too large"));
  }
  return self->Answer(connection, incoming->request);
}

void MicrohttpdServer::Completed(void* /*closure*/, MHD_Connection* /*connection*/,
                                 void** request_state, MHD_RequestTerminationCode /*why*/) {
  delete static_cast<Incoming*>(*request_state);
  *request_state = nullptr;
}

MHD_Result MicrohttpdServer::Answer(MHD_Connection* connection, const Request& request) {
  const Service::Admission admission = service_.Admit(request);
  if (admission.fault.has_value()) {
    return ActOut(connection, request, *admission.fault, admission.epoch);
  }
  return Send(connection, service_.Perform(request, absl::Now()));
}

MHD_Result MicrohttpdServer::ActOut(MHD_Connection* connection, const Request& request,
                                    const Fault& fault, uint64_t epoch) {
  switch (fault.kind) {
    case FaultKind::kLoseReply:
      (void)service_.Perform(request, absl::Now());
      return MHD_NO;
    case FaultKind::kResetBefore:
      return MHD_NO;
    case FaultKind::kLateEffect: {
      const bool scheduled = late_effects_.Schedule(fault.delay, [this, request, epoch] {
        service_.PerformLate(request, epoch, absl::Now());
      });
      // A fault that did not happen must not look as if it had.
      if (!scheduled) {
        return Send(connection, DifyError(503, "too_many_late", "too many late effects"));
      }
      return MHD_NO;
    }
    case FaultKind::kDuplicate:
      (void)service_.Perform(request, absl::Now());
      return Send(connection, service_.Perform(request, absl::Now()));
    case FaultKind::kStatus:
    case FaultKind::kHtmlPage:
    case FaultKind::kEndlessBody:
      if (fault.effect) (void)service_.Perform(request, absl::Now());
      if (fault.kind == FaultKind::kEndlessBody) return SendEndlessly(connection, fault.status);
      return Send(connection,
                  fault.kind == FaultKind::kStatus ? StatusReply(fault) : HtmlReply(fault));
    case FaultKind::kSlowLoris:
      return SendSlowly(connection, service_.Perform(request, absl::Now()), fault.delay);
  }
  return MHD_NO;
}

MHD_Result MicrohttpdServer::Queue(MHD_Connection* connection, const Reply& reply,
                                   MHD_Response* response) {
  if (response == nullptr) return MHD_NO;
  if (!reply.content_type.empty()) {
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply.content_type.c_str());
  }
  for (const auto& [name, value] : reply.headers) {
    MHD_add_response_header(response, name.c_str(), value.c_str());
  }
  const MHD_Result result =
      MHD_queue_response(connection, static_cast<unsigned>(reply.status), response);
  MHD_destroy_response(response);
  return result;
}

MHD_Result MicrohttpdServer::Send(MHD_Connection* connection, const Reply& reply) {
  // The cast is the interface's: with MUST_COPY the buffer is only read.
  return Queue(connection, reply,
               MHD_create_response_from_buffer(
                   reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY));
}

MHD_Result MicrohttpdServer::SendSlowly(MHD_Connection* connection, const Reply& reply,
                                        absl::Duration delay) {
  if (reply.body.empty()) return Send(connection, reply);
  auto* trickle = new Trickle{reply.body, delay, &stopping_};
  MHD_Response* response =
      MHD_create_response_from_callback(reply.body.size(), 1, &ReadTrickle, trickle, &FreeTrickle);
  if (response == nullptr) FreeTrickle(trickle);
  return Queue(connection, reply, response);
}

MHD_Result MicrohttpdServer::SendEndlessly(MHD_Connection* connection, int status) {
  auto* trickle = new Trickle{"", absl::ZeroDuration(), &stopping_};
  MHD_Response* response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 * 1024,
                                                             &ReadEndless, trickle, &FreeTrickle);
  if (response == nullptr) FreeTrickle(trickle);
  const Reply head = {
      .status = status, .content_type = "application/json", .headers = {}, .body = ""};
  return Queue(connection, head, response);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const SandboxOptions& options,
                                                      uint16_t port) {
  auto server = std::make_unique<MicrohttpdServer>(options);
  if (absl::Status status = server->Listen(port); !status.ok()) return status;
  return server;
}

}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
// The listener on libmicrohttpd, one thread per connection. The thread whose browser brought the
// code waits until the login is decided, so that the page can say how it went.
#include "client/cli/redirect_listener.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace keyturn::cli {
namespace {

constexpr char kPath[] = "/callback";
constexpr unsigned kConnectionsMax = 16;
constexpr unsigned kIdleSeconds = 15;
// Of one request, its head included; beyond it libmicrohttpd answers 431 or 414.
constexpr size_t kRequestMax = 32 * 1024;
constexpr absl::Duration kLinger = absl::Seconds(3);

struct Page {
  unsigned status;
  absl::string_view title;
  absl::string_view text;
};
constexpr Page kWorked = {200, "You are logged in",
                          "Keyturn has stored what it needs. You can close this window."};
constexpr Page kFailed = {200, "The login did not work",
                          "The command line says why. You can close this window."};
constexpr Page kForeign = {
    400, "This does not belong to the login",
    "It is from an earlier login, or from somebody else. Nothing was changed. "
    "Open the address that the command line shows."};
constexpr Page kTwice = {409, "This login is over",
                         "The command line says how it went. You can close this window."};
constexpr Page kNothing = {404, "There is nothing here", "Keyturn waits for a login."};
constexpr Page kMethod = {405, "There is nothing here", "Keyturn waits for a login."};

std::string Html(const Page& page) {
  return absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Keyturn: ",
      page.title, "</title></head>\n<body><main><h1>", page.title, "</h1><p>", page.text,
      "</p></main></body></html>\n");
}

MHD_Result Send(MHD_Connection* connection, const Page& page) {
  const std::string html = Html(page);
  // The cast is the interface's: with MUST_COPY the buffer is only read.
  MHD_Response* response = MHD_create_response_from_buffer(
      html.size(), const_cast<char*>(html.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  for (const auto& [name, value] : {
           std::pair("Content-Type", "text/html; charset=utf-8"),
           std::pair("Content-Security-Policy",
                     "default-src 'none'; base-uri 'none'; form-action 'none'; "
                     "frame-ancestors 'none'"),
           // The address holds the code: it is nobody else's business.
           std::pair("Referrer-Policy", "no-referrer"),
           std::pair("Cache-Control", "no-store"),
           std::pair("X-Content-Type-Options", "nosniff"),
           std::pair("Connection", "close"),
       }) {
    MHD_add_response_header(response, name, value);
  }
  if (page.status == kMethod.status) MHD_add_response_header(response, "Allow", "GET");
  const MHD_Result result = MHD_queue_response(connection, page.status, response);
  MHD_destroy_response(response);
  return result;
}

absl::Status SocketError(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::generic_category().message(errno)));
}

// One request; `uri` is as it came, undecoded, and holds the code.
struct Incoming {
  std::string uri;
  bool taken = false;  // it is the one that the login waits for
  ~Incoming() { WipeString(uri); }
};

class MicrohttpdListener final : public RedirectListener {
 public:
  MicrohttpdListener() = default;
  ~MicrohttpdListener() override;
  MicrohttpdListener(const MicrohttpdListener&) = delete;
  MicrohttpdListener& operator=(const MicrohttpdListener&) = delete;

  absl::Status Listen(uint16_t port);
  std::string redirect_uri() const override { return absl::StrCat("http://", authority_, kPath); }
  void Expect(absl::string_view authorization_url) override;
  absl::StatusOr<SecretString> Await(absl::Time deadline) override;
  void Show(bool worked) override;

 private:
  static void* Begin(void* closure, const char* uri, MHD_Connection* connection);
  static MHD_Result Handle(void* closure, MHD_Connection* connection, const char* url,
                           const char* method, const char* version, const char* upload,
                           size_t* upload_size, void** request_state);
  static void Completed(void* closure, MHD_Connection* connection, void** request_state,
                        MHD_RequestTerminationCode why);
  Page Answer(MHD_Connection* connection, absl::string_view method, Incoming& incoming);
  bool IsOurs(absl::string_view query) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  MHD_Daemon* daemon_ = nullptr;
  std::string authority_;
  absl::Mutex mutex_;
  std::string state_ ABSL_GUARDED_BY(mutex_);  // `state=...`; empty: nobody is expected yet
  SecretString address_ ABSL_GUARDED_BY(mutex_);
  bool came_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<bool> worked_ ABSL_GUARDED_BY(mutex_);
  bool decided_ ABSL_GUARDED_BY(mutex_) = false;
  bool shown_ ABSL_GUARDED_BY(mutex_) = false;
};

MicrohttpdListener::~MicrohttpdListener() {
  {
    absl::MutexLock lock(&mutex_);
    decided_ = true;
  }
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

absl::Status MicrohttpdListener::Listen(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return SocketError("cannot make a socket");
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 || listen(fd, 16) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    absl::Status status =
        SocketError(port == 0 ? "cannot listen on 127.0.0.1"
                              : absl::StrCat("cannot listen on 127.0.0.1, port ", port));
    close(fd);
    return status;
  }
  authority_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  daemon_ = MHD_start_daemon(
      MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ITC, 0, nullptr,
      nullptr, &Handle, this, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, &Begin,
      this, MHD_OPTION_NOTIFY_COMPLETED, &Completed, this, MHD_OPTION_CONNECTION_LIMIT,
      kConnectionsMax, MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequestMax, MHD_OPTION_END);
  if (daemon_ != nullptr) return absl::OkStatus();
  close(fd);
  return absl::UnavailableError("cannot start the listener for the browser");
}

void MicrohttpdListener::Expect(absl::string_view authorization_url) {
  const size_t query = authorization_url.find('?');
  absl::MutexLock lock(&mutex_);
  if (query == absl::string_view::npos) return;
  for (const absl::string_view param : absl::StrSplit(authorization_url.substr(query + 1), '&')) {
    if (absl::StartsWith(param, "state=") && param.size() > 6) state_ = std::string(param);
  }
}

absl::StatusOr<SecretString> MicrohttpdListener::Await(absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  if (!mutex_.AwaitWithDeadline(absl::Condition(&came_), deadline)) {
    return absl::DeadlineExceededError("nobody came back from the browser in time");
  }
  return std::move(address_);
}

void MicrohttpdListener::Show(bool worked) {
  absl::MutexLock lock(&mutex_);
  worked_ = worked;
  decided_ = true;
  if (came_) mutex_.AwaitWithTimeout(absl::Condition(&shown_), kLinger);
}

void* MicrohttpdListener::Begin(void* /*closure*/, const char* uri,
                                MHD_Connection* /*connection*/) {
  auto* incoming = new Incoming;
  incoming->uri = uri;
  return incoming;
}

MHD_Result MicrohttpdListener::Handle(void* closure, MHD_Connection* connection,
                                      const char* /*url*/, const char* method,
                                      const char* /*version*/, const char* /*upload*/,
                                      size_t* upload_size, void** request_state) {
  auto* self = static_cast<MicrohttpdListener*>(closure);
  auto* incoming = static_cast<Incoming*>(*request_state);
  if (incoming == nullptr) return MHD_NO;
  // Nothing we take has a body: whoever sends one is cut off before it can be long.
  if (*upload_size > 0) return MHD_NO;
  return Send(connection, self->Answer(connection, method, *incoming));
}

void MicrohttpdListener::Completed(void* closure, MHD_Connection* /*connection*/,
                                   void** request_state, MHD_RequestTerminationCode /*why*/) {
  auto* self = static_cast<MicrohttpdListener*>(closure);
  auto* incoming = static_cast<Incoming*>(*request_state);
  *request_state = nullptr;
  if (incoming != nullptr && incoming->taken) {
    absl::MutexLock lock(&self->mutex_);
    self->shown_ = true;
  }
  delete incoming;
}

// Whether this redirect answers our request: a page of somebody else's cannot know the state, and
// must not be able to end the login. (The agent judges again.)
bool MicrohttpdListener::IsOurs(absl::string_view query) const {
  if (state_.empty()) return false;
  for (const absl::string_view param : absl::StrSplit(query, '&')) {
    if (param == state_) return true;
  }
  return false;
}

Page MicrohttpdListener::Answer(MHD_Connection* connection, absl::string_view method,
                                Incoming& incoming) {
  const absl::string_view uri = incoming.uri;
  const size_t question = uri.find('?');
  // A foreign name that was made to point here is not how our browser comes.
  const char* host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
  if (host == nullptr || authority_ != host || uri.substr(0, question) != kPath) return kNothing;
  if (method != "GET") return kMethod;
  const absl::string_view query =
      question == absl::string_view::npos ? absl::string_view() : uri.substr(question + 1);
  absl::MutexLock lock(&mutex_);
  if (!IsOurs(query)) return kForeign;
  if (came_) return kTwice;
  std::string address = absl::StrCat(redirect_uri(), "?", query);
  address_ = SecretString::Take(address);
  came_ = true;
  incoming.taken = true;
  // The agent and the server are given their time.
  MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
  mutex_.Await(absl::Condition(&decided_));
  return worked_.value_or(false) ? kWorked : kFailed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RedirectListener>> RedirectListener::Start(uint16_t port) {
  auto listener = std::make_unique<MicrohttpdListener>();
  if (absl::Status status = listener->Listen(port); !status.ok()) return status;
  return listener;
}

}  // namespace keyturn::cli

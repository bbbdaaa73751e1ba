// SPDX-License-Identifier: Apache-2.0
// Client: how a service gets its credentials from the Keyturn agent of its host.
//
//   auto client = keyturn::Client::Connect();
//   auto key = (*client)->Get("support-bot/dify");
//   if (key.ok()) request.SetHeader(key->header_name, key->HeaderValue()->Reveal());
//
// A service that asks often keeps a CachedCredentials instead (cached_credentials.h).
// Thread-safe: one Client serves any number of threads over one connection. The agent takes the
// process for who it was when the connection was made: connect after dropping privileges, and do
// not share a Client across fork().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "keyturn/credential.h"
#include "keyturn/errors.h"

namespace keyturn {

struct ConnectOptions {
  // The agent's services socket. Empty: $KEYTURN_SOCKET, else /run/keyturn/keyturn.sock.
  std::string socket_path;
  // How long a call waits for an agent that is not there, such as one that restarts. With zero, a
  // call fails at once when nobody listens; an agent that is merely busy is always waited for.
  absl::Duration connect_timeout = absl::Seconds(5);
};

struct GetOptions {
  // Ask for a value that stays valid at least this long; zero: any valid one.
  absl::Duration min_remaining = absl::ZeroDuration();
  // For the whole call, connecting and retries included.
  absl::Duration timeout = absl::Seconds(10);
};

struct WatchEvent {
  enum class Type {
    kValue,         // `credential` is the current value: at the start, and after each change
    kSynced,        // everything that existed when the watch began has been told
    kDeleted,       // the credential `name` is gone
    kDisconnected,  // `status` says why; the watch goes on by itself
    kRefused,       // the agent refuses `name` (`status`); asked for again from time to time
    kEnded,         // the watch is over because of `status`; the last event
  };
  Type type;
  std::string name;
  Credential credential;
  absl::Status status;
};

struct WatchOptions {
  // Versions already known: those that have not changed are not told again.
  std::map<std::string, uint64_t> seen;
  // False: a name that does not exist or may not be read ends the watch. True: the others are
  // watched meanwhile, and the refused ones are tried again every `retry_refused_after`.
  bool keep_going_when_refused = false;
  absl::Duration retry_refused_after = absl::Seconds(30);
  // Between attempts to reach the agent again: doubles from the first to the last, with jitter.
  absl::Duration first_backoff = absl::Milliseconds(100);
  absl::Duration last_backoff = absl::Seconds(5);
};

// Ends its watch when destroyed: no callback runs any more once the destructor has returned, unless
// it was the callback itself that destroyed the handle.
class WatchHandle {
 public:
  virtual ~WatchHandle() = default;
};

// What became of a report that a value was rejected.
struct Rejection {
  // The version to use now.
  uint64_t current_version = 0;
  // What the agent did: "newer", "replaced", "accepted", "debounced", "rotating", "rejected"
  // (credentials.proto says what each means). New ones may come.
  std::string outcome;
};

// Who the agent takes this process for.
struct Identity {
  struct Grant {
    std::string policy;
    std::vector<std::string> actions;
    std::vector<std::string> names;
  };
  std::string principal;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int32_t pid = 0;
  std::string user;
  std::vector<uint32_t> groups;
  // True on the admin socket.
  bool admin = false;
  std::vector<Grant> grants;
};

class Client {
 public:
  // Prepares a client; does not wait for the agent, so services and agent may start in any order.
  // INVALID_ARGUMENT for a path that no socket can have.
  static absl::StatusOr<std::shared_ptr<Client>> Connect(ConnectOptions options = {});

  virtual ~Client() = default;

  // The current value. Blocks at most `options.timeout`. A call that was cut off is made again
  // while time is left. Beside the codes of credentials.proto: UNAVAILABLE with IsUnreachable()
  // when there is no agent, DEADLINE_EXCEEDED.
  virtual absl::StatusOr<Credential> Get(const std::string& name, const GetOptions& options) = 0;
  absl::StatusOr<Credential> Get(const std::string& name) { return Get(name, GetOptions()); }

  // Up to 100 credentials in one call, each with its own result, in the order of `names`.
  virtual absl::StatusOr<std::vector<absl::StatusOr<Credential>>> BatchGet(
      const std::vector<std::string>& names, const GetOptions& options) = 0;
  absl::StatusOr<std::vector<absl::StatusOr<Credential>>> BatchGet(
      const std::vector<std::string>& names) {
    return BatchGet(names, GetOptions());
  }

  // Tells `callback` about the credentials and every change of theirs, until the handle is
  // destroyed. Lost connections are made again and resumed without telling a version twice. The
  // callback runs on one thread of the watch, one event at a time; while it blocks, events wait and
  // intermediate versions are skipped. The client must outlive the handle.
  virtual std::unique_ptr<WatchHandle> Watch(std::vector<std::string> names,
                                             std::function<void(WatchEvent)> callback,
                                             WatchOptions options) = 0;
  std::unique_ptr<WatchHandle> Watch(std::vector<std::string> names,
                                     std::function<void(WatchEvent)> callback) {
    return Watch(std::move(names), std::move(callback), WatchOptions());
  }

  // This process uses that version and no other one from now on; answers the agent's current
  // version. Where a rotation waits for its consumers, the old key goes once all of them have moved
  // on. A process that has ever acknowledged a version counts as moved on only when it acknowledges
  // the next one: acknowledge every version or none. A CachedCredentials does it by itself.
  virtual absl::StatusOr<uint64_t> Acknowledge(const std::string& name, uint64_t version,
                                               absl::Duration timeout) = 0;
  absl::StatusOr<uint64_t> Acknowledge(const std::string& name, uint64_t version) {
    return Acknowledge(name, version, absl::Seconds(10));
  }

  // The service answered 401 to this version. When the answer's version is higher, get it and try
  // again; otherwise there is nothing better to be had now. Not for a 403: that value is known, and
  // not allowed. RESOURCE_EXHAUSTED when this user reports more than ten times a minute.
  virtual absl::StatusOr<Rejection> ReportRejected(const std::string& name, uint64_t version,
                                                   absl::Duration timeout) = 0;
  // With time enough for a refresh.
  absl::StatusOr<Rejection> ReportRejected(const std::string& name, uint64_t version) {
    return ReportRejected(name, version, absl::Seconds(30));
  }

  virtual absl::StatusOr<Identity> WhoAmI(absl::Duration timeout) = 0;
  absl::StatusOr<Identity> WhoAmI() { return WhoAmI(absl::Seconds(10)); }

  // Waits until the agent takes calls, at most that long.
  virtual absl::Status WaitReady(absl::Duration timeout) = 0;

  virtual const std::string& socket_path() const = 0;
};

}  // namespace keyturn

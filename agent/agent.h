// SPDX-License-Identifier: Apache-2.0
// Agent: the composition root. Makes every part, connects them, and takes them down in the reverse
// order. agent.cc is the only file that names concrete classes of all rooms.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/config.h"
#include "agent/observe/process_log.h"

namespace keyturn::store {
class Backend;
}  // namespace keyturn::store

namespace keyturn {

// What the store is to use instead of its backend; only tests/crash has one. What it returns
// outlives the agent.
using DecorateBackend = store::Backend& (*)(store::Backend&);

// Exit codes of keyturnd (keyturnd(8)).
enum class ExitCode {
  kOk = 0,
  kInternal = 1,
  kUsage = 2,       // command line or configuration
  kStoreInUse = 3,  // another instance has the store, or wrote to it
  kStore = 4,       // the store cannot be opened: key, damage, schema
  kSockets = 5,     // the sockets cannot be opened
};

// What LoadConfig cannot judge alone: addresses and hosts. InvalidArgument with its place.
absl::Status CheckConfig(const Config& config);

// Whether this backup can be restored with this configuration's KEK; says what is in it.
absl::StatusOr<std::string> VerifyBackup(const Config& config, const std::string& path);
// Makes the backup the store. One that was there before is set aside as PATH.replaced. The agent
// must not be running; says what was done.
absl::StatusOr<std::string> RestoreBackup(const Config& config, const std::string& path);

class Agent {
 public:
  // The log outlives the agent.
  Agent(const Config& config, observe::ProcessLog& log, DecorateBackend decorate = nullptr);
  ~Agent();

  // Returns once both sockets are served. On failure says which exit code it means.
  absl::Status Start(ExitCode& code);
  // What SIGHUP changes: log level and limits.
  void Reload(const Config& config);
  // What SIGTERM does. Idempotent.
  void Stop();

 private:
  struct Parts;
  absl::Status OpenStore(ExitCode& code);
  absl::Status OpenProviders();
  void OpenPlugins();
  void MakeLifecycle();

  Config config_;
  observe::ProcessLog& log_;
  DecorateBackend decorate_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace keyturn

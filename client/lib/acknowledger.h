// SPDX-License-Identifier: Apache-2.0
// Acknowledger: tells the agent which versions of API keys one CachedCredentials uses, so that an
// old key can be revoked as soon as nobody needs it. A version is acknowledged once it has been
// read and no value of another version that was counted here is alive: neither kept nor held by a
// caller. It speaks for the whole process, but knows of no other Acknowledger in it: a process that
// uses the same name in two of them must acknowledge by itself. Calls are made on a thread of its
// own. Thread-safe; private to the client.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "keyturn/client.h"
#include "keyturn/credential.h"

namespace keyturn::client {

class Acknowledger {
 public:
  explicit Acknowledger(std::shared_ptr<Client> client);
  // Waits for a call that is under way: at most a second.
  ~Acknowledger();
  Acknowledger(const Acknowledger&) = delete;
  Acknowledger& operator=(const Acknowledger&) = delete;

  // Makes the value one that is counted for as long as somebody holds it. It may outlive this.
  std::shared_ptr<const Credential> Count(Credential credential);
  // A caller was handed this version, one that was counted.
  void Read(const std::string& name, uint64_t version);
  // The agent may have lost what it was told.
  void SayAgain();

 private:
  struct State;

  const std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace keyturn::client

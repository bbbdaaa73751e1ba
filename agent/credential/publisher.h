// SPDX-License-Identifier: Apache-2.0
// Publisher: the lifecycle's VersionSink. Puts a version into the snapshot, then tells the
// watchers, in that order, so that a watcher that is woken finds the new version. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "agent/credential/snapshot.h"
#include "agent/credential/watch_hub.h"
#include "agent/lifecycle/freshness.h"

namespace keyturn::credential {

class Publisher final : public lifecycle::VersionSink {
 public:
  Publisher(Snapshot& snapshot, WatchHub& hub) : snapshot_(snapshot), hub_(hub) {}

  void Publish(const lifecycle::PublishedVersion& version) override {
    snapshot_.Put(version);
    hub_.Changed(version.name);
  }
  void Withdraw(absl::string_view name) override {
    snapshot_.Remove(name);
    hub_.Changed(name);
  }
  std::vector<std::string> Watching(absl::string_view name) const override {
    return hub_.Watching(name);
  }

 private:
  Snapshot& snapshot_;
  WatchHub& hub_;
};

}  // namespace keyturn::credential

// SPDX-License-Identifier: Apache-2.0
// WatchHub: tells streams that a credential has a new version. A subscription holds a set of names
// with something to tell, never a queue of values, so a slow reader costs bounded memory and skips
// to the newest version. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace keyturn::credential {

class WatchHub;

class Subscription {
 public:
  // Ends the subscription; `wake` will not be called after it returned. Not from within `wake`.
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // A name that changed since it was last taken; empty when there is none.
  std::string TakeChanged();

 private:
  friend class WatchHub;
  struct State;
  Subscription(WatchHub& hub, std::shared_ptr<State> state, std::vector<std::string> names);

  WatchHub& hub_;
  const std::shared_ptr<State> state_;
  const std::vector<std::string> names_;
};

class WatchHub {
 public:
  // `wake` is called when a subscription that had nothing to tell has something: quickly, from the
  // writer's thread, with no lock of the hub held.
  // `principal` is who watches.
  std::unique_ptr<Subscription> Subscribe(std::string principal, std::vector<std::string> names,
                                          absl::AnyInvocable<void()> wake);
  // The principals that watch the name, in no order, each once for each of its watches.
  std::vector<std::string> Watching(absl::string_view name);
  void Changed(absl::string_view name);

 private:
  friend class Subscription;
  void Remove(const std::vector<std::string>& names, const std::shared_ptr<Subscription::State>&);

  absl::Mutex mu_;
  absl::flat_hash_map<std::string, absl::flat_hash_set<std::shared_ptr<Subscription::State>>>
      by_name_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::credential

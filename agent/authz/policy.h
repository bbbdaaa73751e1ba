// SPDX-License-Identifier: Apache-2.0
// May they? A pure function of principal, action and name over an immutable set of policies; what
// no policy allows is denied. A CallerPolicy is compiled once per connection and policy generation,
// so that a call costs a few glob matches and no look-up of users.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/authn/principal.h"

namespace keyturn::authz {

enum class Action { kRead, kAdmin };
const char* ActionName(Action action);

// A policy resource with user and group names already turned into ids.
struct Policy {
  struct Match {
    // All that is given must hold; -1: not given. One with neither matches nobody.
    int64_t uid = -1;
    int64_t gid = -1;
  };
  std::string name;
  std::vector<Match> principals;
  std::vector<Action> allow;
  std::vector<std::string> on;  // globs
};

struct Decision {
  bool allowed = false;
  // The policy that allowed it; empty when denied.
  std::string rule;
};

// What one principal may do. Immutable, thread-safe.
class CallerPolicy {
 public:
  struct Grant {
    std::string policy;
    std::vector<Action> actions;
    std::vector<std::string> globs;
  };
  explicit CallerPolicy(std::vector<Grant> grants) : grants_(std::move(grants)) {}

  Decision Decide(Action action, absl::string_view name) const;
  const std::vector<Grant>& grants() const { return grants_; }

 private:
  std::vector<Grant> grants_;
};

// Immutable, thread-safe.
class PolicySet {
 public:
  explicit PolicySet(std::vector<Policy> policies) : policies_(std::move(policies)) {}
  // On the admin socket the agent's own user and root may do everything (rule
  // `builtin:admin-socket`): whoever can open that socket can also read the agent's memory.
  CallerPolicy Compile(const authn::Principal& principal) const;

 private:
  std::vector<Policy> policies_;
};

}  // namespace keyturn::authz

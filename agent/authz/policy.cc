// SPDX-License-Identifier: Apache-2.0
#include "agent/authz/policy.h"

#include <unistd.h>

#include <algorithm>

#include "agent/base/ids.h"

namespace keyturn::authz {
namespace {

constexpr char kBuiltinRule[] = "builtin:admin-socket";

bool Matches(const Policy::Match& match, const authn::Principal& principal) {
  // A match that names nobody would otherwise be one that lets everybody in.
  if (match.uid < 0 && match.gid < 0) return false;
  if (match.uid >= 0 && match.uid != static_cast<int64_t>(principal.uid)) return false;
  if (match.gid < 0 || match.gid == static_cast<int64_t>(principal.gid)) return true;
  return std::any_of(principal.groups.begin(), principal.groups.end(),
                     [&](gid_t group) { return match.gid == static_cast<int64_t>(group); });
}

}  // namespace

const char* ActionName(Action action) {
  switch (action) {
    case Action::kRead:
      return "read";
    case Action::kAdmin:
      return "admin";
  }
  return "unknown";
}

Decision CallerPolicy::Decide(Action action, absl::string_view name) const {
  for (const Grant& grant : grants_) {
    if (std::find(grant.actions.begin(), grant.actions.end(), action) == grant.actions.end()) {
      continue;
    }
    for (const std::string& glob : grant.globs) {
      if (base::GlobMatches(glob, name)) return {true, grant.policy};
    }
  }
  return {};
}

CallerPolicy PolicySet::Compile(const authn::Principal& principal) const {
  std::vector<CallerPolicy::Grant> grants;
  if (principal.admin_socket && (principal.uid == 0 || principal.uid == geteuid())) {
    grants.push_back({kBuiltinRule, {Action::kRead, Action::kAdmin}, {"**"}});
  }
  for (const Policy& policy : policies_) {
    const bool applies =
        std::any_of(policy.principals.begin(), policy.principals.end(),
                    [&](const Policy::Match& match) { return Matches(match, principal); });
    if (!applies) continue;
    CallerPolicy::Grant grant{policy.name, policy.allow, policy.on};
    // "Only meaningful on the admin socket": what cannot be used is not granted.
    if (!principal.admin_socket) {
      grant.actions.erase(std::remove(grant.actions.begin(), grant.actions.end(), Action::kAdmin),
                          grant.actions.end());
    }
    if (!grant.actions.empty()) grants.push_back(std::move(grant));
  }
  return CallerPolicy(std::move(grants));
}

}  // namespace keyturn::authz

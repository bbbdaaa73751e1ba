// SPDX-License-Identifier: Apache-2.0
// A connection's compiled policy follows the policy set, also while it is being replaced.
#include "agent/api/connection_policy.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace keyturn::api {
namespace {

authn::Principal Caller() {
  authn::Principal principal;
  principal.uid = 1000;
  principal.gid = 1000;
  return principal;
}

authz::PolicySet SetNamed(const std::string& rule) {
  return authz::PolicySet({{rule, {{1000, -1}}, {authz::Action::kRead}, {"**"}}});
}

TEST(ConnectionPolicyTest, FollowsTheSetInForce) {
  authz::PolicyHolder holder;
  ConnectionPolicy policy(holder, Caller());
  EXPECT_EQ(policy.principal_text(), "unix:uid=1000,gid=1000,pid=0");
  EXPECT_FALSE(policy.Decide(authz::Action::kRead, "a").allowed);
  holder.Replace(SetNamed("first"));
  EXPECT_EQ(policy.Decide(authz::Action::kRead, "a").rule, "first");
  EXPECT_EQ(policy.Grants().size(), 1u);
  holder.Replace(authz::PolicySet({}));
  EXPECT_FALSE(policy.Decide(authz::Action::kRead, "a").allowed);
}

// Under a sanitizer this shows a compiled policy that is freed too early.
TEST(ConnectionPolicyTest, DecidesWhileSetsAreReplaced) {
  authz::PolicyHolder holder;
  // Longer than what a string holds within itself.
  const std::string rule(64, 'r');
  holder.Replace(SetNamed(rule + "0"));
  ConnectionPolicy policy(holder, Caller());
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        const authz::Decision decision = policy.Decide(authz::Action::kRead, "a/b");
        if (!decision.allowed || decision.rule.rfind(rule, 0) != 0) ++wrong;
      }
    });
  }
  for (int i = 1; i <= 3000; ++i) {
    const std::string next = rule + std::to_string(i);
    holder.Replace(SetNamed(next));
    // What was replaced before a decision began is what decides.
    ASSERT_EQ(policy.Decide(authz::Action::kRead, "a/b").rule, next);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace keyturn::api

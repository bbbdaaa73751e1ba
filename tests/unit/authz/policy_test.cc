// SPDX-License-Identifier: Apache-2.0
// Decisions: what is allowed, by which policy, and that all else is denied.
#include "agent/authz/policy.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "agent/authz/policy_holder.h"

namespace keyturn::authz {
namespace {

authn::Principal Caller(uid_t uid, gid_t gid = 100, std::vector<gid_t> groups = {}) {
  authn::Principal principal;
  principal.uid = uid;
  principal.gid = gid;
  principal.groups = std::move(groups);
  return principal;
}

bool Allows(const std::vector<Policy>& policies, const authn::Principal& principal, Action action,
            const std::string& name) {
  return PolicySet(policies).Compile(principal).Decide(action, name).allowed;
}

TEST(PolicyTest, NothingIsAllowedWithoutAPolicy) {
  EXPECT_FALSE(Allows({}, Caller(0), Action::kRead, "a/b"));
  EXPECT_FALSE(Allows({}, Caller(geteuid()), Action::kRead, "a/b"));
}

TEST(PolicyTest, NamesTheRule) {
  const PolicySet set({{"support-bot", {{1000, -1}}, {Action::kRead}, {"support-bot/*"}}});
  const Decision decision = set.Compile(Caller(1000)).Decide(Action::kRead, "support-bot/dify");
  EXPECT_TRUE(decision.allowed);
  EXPECT_EQ(decision.rule, "support-bot");
  EXPECT_FALSE(set.Compile(Caller(1000)).Decide(Action::kRead, "support-bot/x/y").allowed);
  EXPECT_FALSE(set.Compile(Caller(1001)).Decide(Action::kRead, "support-bot/dify").allowed);
}

TEST(PolicyTest, AllThatAMatchGivesMustHold) {
  const std::vector<Policy> both{{"p", {{1000, 200}}, {Action::kRead}, {"**"}}};
  EXPECT_FALSE(Allows(both, Caller(1000, 100), Action::kRead, "a"));
  EXPECT_FALSE(Allows(both, Caller(1001, 200), Action::kRead, "a"));
  EXPECT_TRUE(Allows(both, Caller(1000, 200), Action::kRead, "a"));
  EXPECT_TRUE(Allows(both, Caller(1000, 100, {7, 200}), Action::kRead, "a"));
}

TEST(PolicyTest, AMatchThatNamesNobodyMatchesNobody) {
  EXPECT_FALSE(Allows({{"p", {{}}, {Action::kRead}, {"**"}}}, Caller(1000), Action::kRead, "a"));
}

TEST(PolicyTest, TheAgentsUserAndRootRuleTheAdminSocketAlone) {
  for (const uid_t uid : {uid_t{0}, geteuid()}) {
    authn::Principal principal = Caller(uid);
    EXPECT_FALSE(Allows({}, principal, Action::kAdmin, "a"));
    principal.admin_socket = true;
    EXPECT_TRUE(Allows({}, principal, Action::kAdmin, "**"));
    EXPECT_EQ(PolicySet({}).Compile(principal).Decide(Action::kRead, "a/b").rule,
              "builtin:admin-socket");
  }
  authn::Principal other = Caller(geteuid() + 1);
  other.admin_socket = true;
  EXPECT_FALSE(Allows({}, other, Action::kAdmin, "a"));
}

TEST(PolicyTest, AdminCountsOnTheAdminSocketOnly) {
  const std::vector<Policy> policies{{"p", {{1000, -1}}, {Action::kAdmin}, {"team/**"}}};
  authn::Principal principal = Caller(1000);
  EXPECT_FALSE(Allows(policies, principal, Action::kAdmin, "team/x"));
  EXPECT_TRUE(PolicySet(policies).Compile(principal).grants().empty());
  principal.admin_socket = true;
  EXPECT_TRUE(Allows(policies, principal, Action::kAdmin, "team/x"));
  EXPECT_FALSE(Allows(policies, principal, Action::kAdmin, "other/x"));
  // Power over one team is not power over the agent.
  EXPECT_FALSE(Allows(policies, principal, Action::kAdmin, "**"));
}

TEST(PolicyHolderTest, ANewSetHasANewGeneration) {
  PolicyHolder holder;
  const uint64_t before = holder.generation();
  EXPECT_FALSE(holder.Current()->Compile(Caller(1)).Decide(Action::kRead, "a").allowed);
  holder.Replace(PolicySet({{"p", {{1, -1}}, {Action::kRead}, {"a"}}}));
  EXPECT_NE(holder.generation(), before);
  EXPECT_TRUE(holder.Current()->Compile(Caller(1)).Decide(Action::kRead, "a").allowed);
}

// --- Properties over small random policies, few enough ids and names that they collide.

Policy RandomPolicy() {
  Policy policy;
  policy.name = "p" + std::to_string(*rc::gen::inRange(0, 9));
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i) {
    policy.principals.push_back({*rc::gen::inRange(-1, 4), *rc::gen::inRange(-1, 4)});
  }
  policy.allow = *rc::gen::element(std::vector<Action>{}, std::vector<Action>{Action::kRead},
                                   std::vector<Action>{Action::kAdmin},
                                   std::vector<Action>{Action::kRead, Action::kAdmin});
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i) {
    policy.on.push_back(*rc::gen::element<std::string>("a", "a/*", "a/b", "**", "b/**", "?/c"));
  }
  return policy;
}

std::vector<Policy> RandomPolicies() {
  std::vector<Policy> policies;
  for (int i = *rc::gen::inRange(0, 5); i > 0; --i) policies.push_back(RandomPolicy());
  return policies;
}

struct Question {
  authn::Principal principal;
  Action action;
  std::string name;
};

Question RandomQuestion() {
  Question question;
  question.principal = Caller(*rc::gen::inRange(0u, 4u), *rc::gen::inRange(0u, 4u));
  if (*rc::gen::arbitrary<bool>()) question.principal.groups = {*rc::gen::inRange(0u, 4u)};
  question.principal.admin_socket = *rc::gen::arbitrary<bool>();
  question.action = *rc::gen::element(Action::kRead, Action::kAdmin);
  question.name = *rc::gen::element<std::string>("a", "a/b", "a/c", "b", "b/c/d", "c");
  return question;
}

TEST(PolicyPropertyTest, MorePoliciesNeverAllowLess) {
  EXPECT_TRUE(rc::check("monotone", [] {
    std::vector<Policy> policies = RandomPolicies();
    const Question q = RandomQuestion();
    const bool before = Allows(policies, q.principal, q.action, q.name);
    policies.insert(policies.begin() + *rc::gen::inRange<size_t>(0, policies.size() + 1),
                    RandomPolicy());
    RC_ASSERT(!before || Allows(policies, q.principal, q.action, q.name));
  }));
}

TEST(PolicyPropertyTest, AnAllowedCallHasOnePolicyThatAloneAllowsIt) {
  EXPECT_TRUE(rc::check("default deny", [] {
    const std::vector<Policy> policies = RandomPolicies();
    const Question q = RandomQuestion();
    const Decision decision = PolicySet(policies).Compile(q.principal).Decide(q.action, q.name);
    bool by_one = Allows({}, q.principal, q.action, q.name);
    for (const Policy& policy : policies) {
      by_one = by_one || Allows({policy}, q.principal, q.action, q.name);
    }
    RC_ASSERT(decision.allowed == by_one);
    RC_ASSERT(decision.allowed == !decision.rule.empty());
  }));
}

TEST(PolicyPropertyTest, AnotherUidThatNoPolicyNamesGetsNothing) {
  EXPECT_TRUE(rc::check("strangers", [] {
    const std::vector<Policy> policies = RandomPolicies();
    Question q = RandomQuestion();
    q.principal.uid = 77777;
    q.principal.gid = 77777;
    q.principal.groups.clear();
    RC_ASSERT(!Allows(policies, q.principal, q.action, q.name));
  }));
}

}  // namespace
}  // namespace keyturn::authz

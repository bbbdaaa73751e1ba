// SPDX-License-Identifier: Apache-2.0
#include "agent/authz/policy_spec.h"

#include <grp.h>
#include <pwd.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace keyturn::authz {
namespace {

constexpr size_t kEntryMax = 1 << 16;

std::optional<int64_t> UserId(const std::string& text) {
  uint32_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(kEntryMax);
  if (getpwnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return found->pw_uid;
}

std::optional<int64_t> GroupId(const std::string& text) {
  uint32_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  group entry{};
  group* found = nullptr;
  std::vector<char> buffer(kEntryMax);
  if (getgrnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return found->gr_gid;
}

}  // namespace

Policy FromSpec(const std::string& name, const v1::PolicySpec& spec,
                std::vector<std::string>* unknown) {
  Policy policy;
  policy.name = name;
  for (const v1::PrincipalMatch& principal : spec.principals()) {
    const v1::UnixMatch& wanted = principal.unix();
    if (wanted.user().empty() && wanted.group().empty()) continue;
    Policy::Match match;
    bool known = true;
    if (!wanted.user().empty()) {
      const auto uid = UserId(wanted.user());
      known = uid.has_value();
      match.uid = uid.value_or(-1);
      if (!uid && unknown != nullptr)
        unknown->push_back(absl::StrCat("user \"", wanted.user(), "\""));
    }
    if (!wanted.group().empty()) {
      const auto gid = GroupId(wanted.group());
      known = known && gid.has_value();
      match.gid = gid.value_or(-1);
      if (!gid && unknown != nullptr) {
        unknown->push_back(absl::StrCat("group \"", wanted.group(), "\""));
      }
    }
    if (known) policy.principals.push_back(match);
  }
  for (const int action : spec.allow()) {
    if (action == v1::READ) policy.allow.push_back(Action::kRead);
    if (action == v1::ADMIN) policy.allow.push_back(Action::kAdmin);
  }
  policy.on.assign(spec.on().begin(), spec.on().end());
  return policy;
}

absl::Status CheckSpec(const v1::PolicySpec& spec) {
  std::vector<std::string> unknown;
  FromSpec("", spec, &unknown);
  if (unknown.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("this host has no ", absl::StrJoin(unknown, ", "),
                                                 "; create it first, or give a numeric id"));
}

}  // namespace keyturn::authz

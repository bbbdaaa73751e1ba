// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/token_circle.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/lifecycle/oauth/oauth_checks.h"

namespace keyturn::lifecycle::oauth {
namespace {

// Looks at each token once, however many ways lead to it.
class Search {
 public:
  Search(const std::string& goal, const FindToken& find_token)
      : goal_(goal), find_token_(find_token) {}

  // Puts the tokens from `at` to the goal, each of which needs the next one, at the end of `way`.
  bool Lead(const std::string& at, std::vector<std::string>& way) {
    way.push_back(at);
    if (at == goal_) return true;
    const v1::OAuthSpec* token = seen_.insert(at).second ? find_token_(at) : nullptr;
    if (token != nullptr) {
      for (const SecretField& field : SecretsOf(*token)) {
        if (Lead(field.ref->credential(), way)) return true;
      }
    }
    way.pop_back();
    return false;
  }

 private:
  const std::string& goal_;
  const FindToken& find_token_;
  std::set<std::string> seen_;
};

}  // namespace

std::optional<OAuthMistake> CheckCircle(const std::string& name, const v1::OAuthSpec& spec,
                                        const FindToken& find_token) {
  Search search(name, find_token);
  for (const SecretField& field : SecretsOf(spec)) {
    std::vector<std::string> way = {name};
    if (!search.Lead(field.ref->credential(), way)) continue;
    return OAuthMistake{field.path,
                        absl::StrCat("leads in a circle: ", absl::StrJoin(way, " -> "),
                                     "; each needs the next one's token, so none would ever come")};
  }
  return std::nullopt;
}

}  // namespace keyturn::lifecycle::oauth

// SPDX-License-Identifier: Apache-2.0
// The rules for the `oauth` part of a credential, once its preset is expanded: what each grant and
// each way of client authentication needs and does not go with, and the form of every field. Pure
// but for the checks that it is handed.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/lifecycle/oauth/oauth_mistake.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle::oauth {

struct OAuthSurroundings {
  // Whether the agent may call this URL at all.
  std::function<absl::Status(absl::string_view url)> check_url;
  std::function<bool(const std::string& name)> has_credential;
  // What another token is to be like; null for what is none.
  std::function<const v1::OAuthSpec*(const std::string& name)> find_token = nullptr;
};

// `name`: the credential's own.
std::optional<OAuthMistake> CheckOAuth(const std::string& name, const v1::OAuthSpec& spec,
                                       const OAuthSurroundings& surroundings);

// Whether a person consents through `keyturn login`.
bool HasLogin(v1::OAuthGrant grant);
// Whether access tokens come from a refresh token.
bool UsesRefreshToken(v1::OAuthGrant grant);
// Whether the address of a login holds this parameter anyway: it cannot be stated.
bool IsAuthorizationParam(absl::string_view param);

struct UrlField {
  std::vector<std::string> path;
  std::string* url;
};
// The URLs that are stated.
std::vector<UrlField> UrlsOf(v1::OAuthSpec& spec);

struct SecretField {
  std::vector<std::string> path;
  const v1::SecretRef* ref;
};
// The references to secrets that are stated.
std::vector<SecretField> SecretsOf(const v1::OAuthSpec& spec);
// Whether one of them is to this credential.
bool RefersTo(const v1::OAuthSpec& spec, absl::string_view credential);

}  // namespace keyturn::lifecycle::oauth

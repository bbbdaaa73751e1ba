// SPDX-License-Identifier: Apache-2.0
// Credential: one valid value as the agent handed it out, with how long it lasts and how it goes
// into a request. A plain value type: copy it, move it, share it const between threads. Its secret
// bytes are wiped with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "keyturn/secret_string.h"

namespace keyturn {

enum class CredentialKind { kUnspecified, kApiKey, kOAuthToken, kStatic };

// "api_key", "oauth_token", "static", or "unknown" for a kind newer than this library.
absl::string_view KindName(CredentialKind kind);

// One named part of a value.
struct CredentialField {
  std::string name;
  SecretString value;
  // False for parts that may be shown and logged, such as a key's id.
  bool secret = true;
};

struct Credential {
  std::string name;
  CredentialKind kind = CredentialKind::kUnspecified;
  // Counts up with each new value; equal versions have equal values.
  uint64_t version = 0;
  std::vector<CredentialField> fields;
  // The name of the field that is *the* secret.
  std::string primary;
  // Absent when the value does not expire by itself.
  std::optional<absl::Time> expires_at;
  // When to ask again to stay ahead of the expiry or of the next rotation.
  std::optional<absl::Time> refresh_after;
  // Such as "Authorization" and "Bearer {value}"; empty when the agent was not told.
  std::string header_name;
  std::string header_format;
  // True when the value is in its last seconds and no newer one could be had in time.
  bool expiring = false;

  // The primary field's value; an empty one when there is none.
  const SecretString& value() const;
  // The field of that name, or null.
  const CredentialField* Find(absl::string_view field_name) const;
  // What follows `header_name: ` in a request. FAILED_PRECONDITION when the credential does not say
  // how it is attached, or when the result would not be one header line.
  absl::StatusOr<SecretString> HeaderValue() const;
};

}  // namespace keyturn

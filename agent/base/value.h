// SPDX-License-Identifier: Apache-2.0
// The value of one version of a credential: a small list of named fields, one of them primary.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/base/secret.h"

namespace keyturn::base {

struct Field {
  std::string name;
  Secret value;
  // False for parts that may be shown, such as an id.
  bool secret = true;

  friend bool operator==(const Field&, const Field&) = default;
};

struct CredentialValue {
  std::vector<Field> fields;
  std::string primary;

  // A value of one secret field, named `value` as everywhere where a person did not name it.
  static CredentialValue Of(Secret secret) {
    CredentialValue value;
    value.primary = "value";
    value.fields.push_back({"value", std::move(secret), true});
    return value;
  }

  bool empty() const { return fields.empty(); }
  // Null when there is no such field.
  const Secret* Find(absl::string_view name) const {
    for (const Field& field : fields) {
      if (field.name == name) return &field.value;
    }
    return nullptr;
  }
  const Secret* Primary() const { return Find(primary); }

  friend bool operator==(const CredentialValue&, const CredentialValue&) = default;
};

}  // namespace keyturn::base

// SPDX-License-Identifier: Apache-2.0
// The parameters of a request to an authorization server, and the two ways in which they are
// written. Not thread-safe.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

class RequestParams {
 public:
  void Add(absl::string_view name, absl::string_view value);
  // Does nothing when the value is empty.
  void AddIfAny(absl::string_view name, absl::string_view value);
  // In place of all that have this name.
  void Replace(absl::string_view name, absl::string_view value);

  // application/x-www-form-urlencoded, RFC 6749 appendix B.
  base::Secret Form() const;
  // An object; what was added more than once is an array.
  base::Secret Json() const;

 private:
  std::vector<std::pair<std::string, base::Secret>> params_;
};

// One text as the form has it.
base::Secret FormEncoded(absl::string_view text);

}  // namespace keyturn::providers

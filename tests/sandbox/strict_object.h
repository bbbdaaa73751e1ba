// SPDX-License-Identifier: Apache-2.0
//
// Reads the fields of a JSON object one by one and then knows which were left over, so that a
// misspelt setting is an error instead of a default. The first thing wrong is kept, with the path
// of the field. Never throws. Not thread-safe; one reader per object.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/strings/string_view.h>
#include <absl/time/time.h>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {

class StrictObject {
 public:
  // `document` must outlive this reader; `path` names it in errors.
  StrictObject(const nlohmann::json& document, std::string path);

  // Each leaves `*value` alone when the field is absent.
  void Read(absl::string_view name, std::string* value);
  void Read(absl::string_view name, bool* value);
  void Read(absl::string_view name, int64_t min, int64_t max, int64_t* value);
  // A duration such as "10s" or "1m30s", at least `min`.
  void Read(absl::string_view name, absl::Duration min, absl::Duration* value);
  void Read(absl::string_view name, std::vector<std::string>* value);

  // The field as it is, or nullptr. Whoever asks for it must read it.
  const nlohmann::json* Take(absl::string_view name);

  void Require(absl::string_view name);
  // Records an error about a field, unless there is one already.
  void Fail(absl::string_view name, absl::string_view problem);
  std::string PathOf(absl::string_view name) const;

  // To be called last: the first error, among them the fields that nobody read.
  absl::Status Finish();

 private:
  const nlohmann::json& document_;
  const std::string path_;
  std::set<std::string, std::less<>> read_;
  absl::Status status_;
};

}  // namespace keyturn::sandbox

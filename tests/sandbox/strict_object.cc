// SPDX-License-Identifier: Apache-2.0
//
// Errors name the field and what it should be, never what was in it: a configuration may hold
// secrets. Not thread-safe.
#include "tests/sandbox/strict_object.h"

#include <utility>

#include <absl/strings/str_cat.h>

namespace keyturn::sandbox {

using nlohmann::json;

StrictObject::StrictObject(const json& document, std::string path)
    : document_(document), path_(std::move(path)) {
  if (!document_.is_object()) Fail("", "must be an object");
}

std::string StrictObject::PathOf(absl::string_view name) const {
  if (name.empty()) return path_.empty() ? "the document" : path_;
  return path_.empty() ? std::string(name) : absl::StrCat(path_, ".", name);
}

void StrictObject::Fail(absl::string_view name, absl::string_view problem) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(PathOf(name), " ", problem));
}

const json* StrictObject::Take(absl::string_view name) {
  read_.emplace(name);
  if (!document_.is_object()) return nullptr;
  const auto found = document_.find(std::string(name));
  return found == document_.end() ? nullptr : &*found;
}

void StrictObject::Require(absl::string_view name) {
  if (Take(name) == nullptr) Fail(name, "is missing");
}

void StrictObject::Read(absl::string_view name, std::string* value) {
  const json* field = Take(name);
  if (field == nullptr) return;
  if (!field->is_string()) return Fail(name, "must be a string");
  *value = field->get<std::string>();
}

void StrictObject::Read(absl::string_view name, bool* value) {
  const json* field = Take(name);
  if (field == nullptr) return;
  if (!field->is_boolean()) return Fail(name, "must be true or false");
  *value = field->get<bool>();
}

void StrictObject::Read(absl::string_view name, int64_t min, int64_t max, int64_t* value) {
  const json* field = Take(name);
  if (field == nullptr) return;
  const std::string expected = absl::StrCat("must be a whole number from ", min, " to ", max);
  if (!field->is_number_integer()) return Fail(name, expected);
  // A number beyond int64 would wrap to a negative one on reading.
  if (field->is_number_unsigned() && field->get<uint64_t>() > static_cast<uint64_t>(max)) {
    return Fail(name, expected);
  }
  const auto number = field->get<int64_t>();
  if (number < min || number > max) return Fail(name, expected);
  *value = number;
}

void StrictObject::Read(absl::string_view name, absl::Duration min, absl::Duration* value) {
  std::string text;
  Read(name, &text);
  if (Take(name) == nullptr || !status_.ok()) return;
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < min ||
      duration == absl::InfiniteDuration()) {
    return Fail(name, absl::StrCat("must be a duration such as \"10s\", at least ",
                                   absl::FormatDuration(min)));
  }
  *value = duration;
}

void StrictObject::Read(absl::string_view name, std::vector<std::string>* value) {
  const json* field = Take(name);
  if (field == nullptr) return;
  if (!field->is_array()) return Fail(name, "must be a list of strings");
  std::vector<std::string> items;
  for (const json& item : *field) {
    if (!item.is_string()) return Fail(name, "must be a list of strings");
    items.push_back(item.get<std::string>());
  }
  *value = std::move(items);
}

absl::Status StrictObject::Finish() {
  if (document_.is_object()) {
    for (const auto& [name, unused] : document_.items()) {
      if (read_.count(name) == 0) Fail(name, "is not a known field");
    }
  }
  return status_;
}

}  // namespace keyturn::sandbox

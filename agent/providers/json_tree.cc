// SPDX-License-Identifier: Apache-2.0
// The depth is counted before parsing, because the library parses and destroys recursively enough
// to care.
#include "agent/providers/json_tree.h"

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "agent/base/secret.h"

namespace keyturn::providers {
namespace {

constexpr int kDepthMax = 32;

bool TooDeep(absl::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDepthMax) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

std::unique_ptr<nlohmann::json> ParseJson(absl::string_view text) {
  if (TooDeep(text)) return nullptr;
  auto tree = std::make_unique<nlohmann::json>(
      nlohmann::json::parse(text.data(), text.data() + text.size(), nullptr, false));
  if (tree->is_discarded()) return nullptr;
  return tree;
}

const nlohmann::json* Lookup(const nlohmann::json& tree, const std::string& pointer) {
  try {
    const nlohmann::json::json_pointer parsed(pointer);
    return tree.contains(parsed) ? &tree.at(parsed) : nullptr;
  } catch (const nlohmann::json::exception&) {
    return nullptr;
  }
}

bool ScalarText(const nlohmann::json& value, std::string* text) {
  if (value.is_string()) {
    *text = value.get_ref<const std::string&>();
  } else if (value.is_number_unsigned()) {
    *text = absl::StrCat(value.get<uint64_t>());
  } else if (value.is_number_integer()) {
    *text = absl::StrCat(value.get<int64_t>());
  } else if (value.is_boolean()) {
    *text = value.get<bool>() ? "true" : "false";
  } else {
    return false;
  }
  return true;
}

void WipeJson(nlohmann::json& tree) {
  if (tree.is_string()) {
    base::Wipe(tree.get_ref<std::string&>());
  } else if (tree.is_structured()) {
    for (auto& item : tree) WipeJson(item);
  }
  tree = nullptr;
}

}  // namespace keyturn::providers

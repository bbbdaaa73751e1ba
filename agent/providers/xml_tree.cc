// SPDX-License-Identifier: Apache-2.0
// The parser does not recurse; the walk over its tree does, within the limit.
#include "agent/providers/xml_tree.h"

#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

constexpr int kDepthMax = 32;

std::string LocalName(const pugi::xml_node& node) {
  const std::string name = node.name();
  return name.substr(name.rfind(':') + 1);
}

// Comments and CDATA sections cut a text into several nodes; it is one text all the same.
std::string TextOf(const pugi::xml_node& element) {
  const auto is_text = [](const pugi::xml_node& node) {
    return node.type() == pugi::node_pcdata || node.type() == pugi::node_cdata;
  };
  size_t size = 0;
  for (const pugi::xml_node& child : element.children()) {
    if (is_text(child)) size += absl::string_view(child.value()).size();
  }
  std::string text;
  // Room at once: a string that grows leaves copies of secrets behind.
  text.reserve(size);
  for (const pugi::xml_node& child : element.children()) {
    if (is_text(child)) text += child.value();
  }
  return text;
}

// False when it nests too deep.
bool Convert(const pugi::xml_node& element, int depth, nlohmann::json* out) {
  if (depth > kDepthMax) return false;
  nlohmann::json members = nlohmann::json::object();
  for (const pugi::xml_node& child : element.children()) {
    if (child.type() != pugi::node_element) continue;
    nlohmann::json value;
    if (!Convert(child, depth + 1, &value)) {
      WipeJson(members);
      return false;
    }
    const std::string name = LocalName(child);
    // Elements of one name need not stand together, and an array as a value cannot arise otherwise.
    const auto found = members.find(name);
    if (found == members.end()) {
      members[name] = std::move(value);
    } else if (found->is_array()) {
      found->push_back(std::move(value));
    } else {
      *found = nlohmann::json::array({std::move(*found), std::move(value)});
    }
  }
  if (members.empty()) {
    *out = TextOf(element);
  } else {
    *out = std::move(members);
  }
  return true;
}

}  // namespace

std::unique_ptr<nlohmann::json> ParseXml(absl::string_view text) {
  if (absl::StrContains(text, "<!DOCTYPE")) return nullptr;
  // Parsed in place, so that the only copy is one that can be wiped.
  std::string copy(text);
  const absl::Cleanup wipe = [&] { base::Wipe(copy); };
  pugi::xml_document document;
  const pugi::xml_parse_result result = document.load_buffer_inplace(
      copy.data(), copy.size(), pugi::parse_default | pugi::parse_ws_pcdata_single,
      pugi::encoding_utf8);
  const pugi::xml_node root = document.document_element();
  if (!result || root.empty() || root.next_sibling()) return nullptr;
  auto tree = std::make_unique<nlohmann::json>(nlohmann::json::object());
  nlohmann::json content;
  if (!Convert(root, 1, &content)) return nullptr;
  (*tree)[LocalName(root)] = std::move(content);
  return tree;
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// The tree that lies between YAML text and a message, so that yaml-cpp stays in strict_yaml.cc:
// scalars as written, each node with its place. Plain data.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/strict_yaml.h"

namespace keyturn::base {

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  int line = 1;
  int column = 1;
  bool quoted = false;
  std::string text;
  std::vector<YamlNode> items;     // of a list
  std::vector<YamlEntry> entries;  // of a map: scalar keys, no duplicates
};

// Not a std::pair: clang cannot make a vector of pairs of a type that is not complete yet.
struct YamlEntry {
  YamlNode first;
  YamlNode second;
};

// Fills a message from a tree. Used once, by ParseYaml.
class YamlReader {
 public:
  YamlReader(absl::string_view file_name, SourceMap* where);
  absl::Status Read(const YamlNode& root, google::protobuf::Message* out);

 private:
  struct Target;

  absl::Status Error(const YamlNode& at, absl::string_view message) const;
  // ` in credentials.a/b`, ` at the top level`.
  std::string Place() const;
  void Remember(const YamlNode& at);
  absl::Status ReadMessage(const YamlNode& node, google::protobuf::Message* out);
  absl::Status ReadField(const YamlNode& node, const Target& target);
  absl::Status ReadMap(const YamlNode& node, const Target& target);
  absl::Status ReadList(const YamlNode& node, const Target& target);
  absl::Status ReadOne(const YamlNode& node, const Target& target);
  absl::Status ReadEnum(const YamlNode& node, const Target& target);
  template <typename Number>
  absl::Status ReadNumber(const YamlNode& node, Number* out) const;
  absl::Status ReadBool(const YamlNode& node, bool* out) const;
  absl::Status ReadText(const YamlNode& node, std::string* out) const;
  absl::Status ReadDuration(const YamlNode& node, google::protobuf::Message* out) const;
  absl::Status ReadValue(const YamlNode& node, google::protobuf::Message* out) const;

  const std::string file_name_;
  SourceMap* const where_;
  YamlPath path_;
};

// What a plain scalar means where any YAML may stand: `true` and `false`, null, a JSON number,
// else text. One rule for the reader and the writer.
enum class PlainMeaning { kNull, kBool, kNumber, kText };
PlainMeaning MeaningOf(absl::string_view plain);

}  // namespace keyturn::base

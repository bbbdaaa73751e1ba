// SPDX-License-Identifier: Apache-2.0
// YAML text read strictly into a protobuf message, and a message written as YAML. The message's
// descriptor is the schema: an unknown key, a wrong type, a duplicate key or a number out of range
// is InvalidArgument that opens with FILE:LINE:COLUMN. Anchors, aliases, tags, several documents,
// control characters, nesting over 32 levels and texts over 1 MiB are refused. Pure; the functions
// are thread-safe.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace google::protobuf {
class Message;
}

namespace keyturn::base {

// The keys, and for lists the indexes as decimal text, from the top to a place in the document:
// {"credentials", "support-bot/dify", "rotate", "jitter"}. A vector, because keys may hold any
// character that a separator could be.
using YamlPath = std::vector<std::string>;

// `credentials.support-bot/dify.rotate.jitter`, `principals[0].unix`: for people, not for parsing.
std::string PathText(const YamlPath& path);

// Where each key stood, so that later checks can point at it.
class SourceMap {
 public:
  // `FILE:LINE:COLUMN` of the key (of the item itself in a list), else of its nearest parent that
  // has a place, else the file's name.
  std::string At(const YamlPath& path) const;
  // InvalidArgument `FILE:LINE:COLUMN: PATH: message`; without the path when it is empty.
  absl::Status Error(const YamlPath& path, absl::string_view message) const;

 private:
  friend class YamlReader;
  std::string file_name_;
  std::map<YamlPath, std::pair<int, int>> places_;  // line and column, from 1
};

// How YAML becomes message fields: keys are the proto's field names; enum values are written in
// lower case, without the unspecified one; google.protobuf.Duration as base::ParseDuration reads
// it; google.protobuf.Value takes any YAML, in which a quoted scalar stays text. A number or a bool
// must be plain, a text may be plain or quoted; a list is never inferred from a single value and
// nothing from emptiness (write "", [] or {}). `out` is cleared first, and left cleared after an
// error. `file_name` is only used in messages.
absl::Status ParseYaml(absl::string_view text, absl::string_view file_name,
                       google::protobuf::Message* out, SourceMap* where = nullptr);

// The reverse: fields in the order of the proto, map keys sorted, unset fields left out, always the
// same text for the same message. ParseYaml of it gives an equal message, provided that texts
// hold no control characters but tab and line feed.
std::string ToYaml(const google::protobuf::Message& message);

}  // namespace keyturn::base

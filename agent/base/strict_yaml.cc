// SPDX-License-Identifier: Apache-2.0
// The only place that knows yaml-cpp. Its event interface is used rather than its nodes, because
// the nodes have already forgotten anchors, quotes and duplicate keys.
#include "agent/base/strict_yaml.h"

#include <google/protobuf/message.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/base/yaml_node.h"

namespace keyturn::base {
namespace {

constexpr size_t kBytesMax = 1024 * 1024;
constexpr size_t kDepthMax = 32;

struct Refusal {
  int line = 1;
  int column = 1;
  std::string why;
};

// Thrown through yaml-cpp, which is the only way to stop it; caught in Scan.
struct RefusalException : std::exception {
  explicit RefusalException(Refusal r) : refusal(std::move(r)) {}
  Refusal refusal;
};

// The code point at `*at`, which is moved on; -1 for anything that is not UTF-8 in its shortest
// form.
int64_t TakeCodePoint(absl::string_view text, size_t* at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte((*at)++);
  if (first < 0x80) return first;
  const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (first < 0xc2 || first > 0xf4 || text.size() - *at < more) return -1;
  int64_t code = first & (0x3f >> more);
  for (size_t i = 0; i < more; ++i) {
    const unsigned char next = byte((*at)++);
    if ((next & 0xc0) != 0x80) return -1;
    code = code << 6 | (next & 0x3f);
  }
  const int64_t least[] = {0x80, 0x800, 0x10000};
  if (code < least[more - 1] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return -1;
  return code;
}

bool Printable(int64_t code) {
  if (code < 0x20) return code == '\t' || code == '\n';
  // C1 controls, line separators, bidirectional overrides and byte order marks would make a text
  // look other than it is.
  return !((code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           code == 0xfeff || (code & 0xfffe) == 0xfffe);
}

std::optional<Refusal> FindUnprintable(absl::string_view text) {
  Refusal refusal;
  for (size_t at = 0; at < text.size();) {
    const int64_t code = TakeCodePoint(text, &at);
    const bool line_end = code == '\r' && at < text.size() && text[at] == '\n';
    if (code < 0) {
      refusal.why = "not UTF-8";
      return refusal;
    }
    if (!Printable(code) && !line_end) {
      refusal.why = absl::StrFormat("the character U+%04X is not allowed here", code);
      return refusal;
    }
    if (code == '\n') {
      ++refusal.line;
      refusal.column = 1;
    } else {
      ++refusal.column;
    }
  }
  return std::nullopt;
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  const YamlNode& root() const { return root_; }
  bool seen_document() const { return documents_ > 0; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) Refuse(mark, "only one document is taken, and this begins another");
  }
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string&) override { RefuseAnchor(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { RefuseAnchor(mark); }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (anchor != YAML::NullAnchor) RefuseAnchor(mark);
    Add(At(mark, YamlNode::Kind::kNull));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckPlain(mark, tag, anchor, true);
    if (FindUnprintable(value).has_value()) {
      Refuse(mark, "an escape in this text makes a control character");
    }
    YamlNode node = At(mark, YamlNode::Kind::kScalar);
    node.quoted = tag == "!";
    node.text = value;
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    CheckPlain(mark, tag, anchor, false);
    Open(At(mark, YamlNode::Kind::kList));
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    CheckPlain(mark, tag, anchor, false);
    Open(At(mark, YamlNode::Kind::kMap));
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapEnd() override {
    // Keys and values were gathered in turn.
    YamlNode& map = open_.back();
    std::vector<YamlNode> flat = std::move(map.items);
    map.items.clear();
    std::set<std::string> seen;
    for (size_t i = 0; i + 1 < flat.size(); i += 2) {
      if (flat[i].kind != YamlNode::Kind::kScalar) Refuse(flat[i], "a key must be a text");
      if (!seen.insert(flat[i].text).second) {
        Refuse(flat[i], absl::StrCat("the key \"", flat[i].text, "\" stands here a second time"));
      }
      map.entries.push_back({std::move(flat[i]), std::move(flat[i + 1])});
    }
    Close();
  }

 private:
  static YamlNode At(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }
  [[noreturn]] static void Refuse(const YamlNode& at, std::string why) {
    throw RefusalException({at.line, at.column, std::move(why)});
  }
  [[noreturn]] static void Refuse(const YAML::Mark& mark, std::string why) {
    Refuse(At(mark, YamlNode::Kind::kNull), std::move(why));
  }
  [[noreturn]] static void RefuseAnchor(const YAML::Mark& mark) {
    Refuse(mark, "anchors and aliases (& and *) are not taken; quote the text if it is one");
  }
  static void CheckPlain(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         bool scalar) {
    if (anchor != YAML::NullAnchor) RefuseAnchor(mark);
    // yaml-cpp reports a plain node as `?` and a quoted one as `!`.
    if (!tag.empty() && tag != "?" && !(scalar && tag == "!")) {
      Refuse(mark, "tags (!) are not taken; quote the text if it is one");
    }
  }
  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else {
      open_.back().items.push_back(std::move(node));
    }
  }
  void Open(YamlNode node) {
    if (open_.size() >= kDepthMax) Refuse(node, "nested too deeply; at most 32 levels");
    open_.push_back(std::move(node));
  }
  void Close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Add(std::move(node));
  }

  int documents_ = 0;
  YamlNode root_;
  std::vector<YamlNode> open_;
};

std::optional<Refusal> Scan(absl::string_view text, YamlNode* root) {
  if (text.size() > kBytesMax) return Refusal{1, 1, "larger than 1 MiB"};
  if (auto refusal = FindUnprintable(text)) return refusal;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder;
    while (parser.HandleNextDocument(builder)) {
    }
    if (!builder.seen_document()) return Refusal{1, 1, "empty; a map of keys is expected"};
    *root = builder.root();
    return std::nullopt;
  } catch (const RefusalException& e) {
    return e.refusal;
  } catch (const YAML::Exception& e) {
    if (e.mark.is_null()) return Refusal{1, 1, e.msg};
    return Refusal{e.mark.line + 1, e.mark.column + 1, e.msg};
  } catch (const std::exception&) {
    return Refusal{1, 1, "not readable as YAML"};
  }
}

}  // namespace

absl::Status ParseYaml(absl::string_view text, absl::string_view file_name,
                       google::protobuf::Message* out, SourceMap* where) {
  out->Clear();
  YamlReader reader(file_name, where);
  YamlNode root;
  if (const auto refusal = Scan(text, &root)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ":", refusal->line, ":", refusal->column, ": ", refusal->why));
  }
  absl::Status status = reader.Read(root, out);
  if (!status.ok()) out->Clear();
  return status;
}

}  // namespace keyturn::base

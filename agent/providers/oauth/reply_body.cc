// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/reply_body.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"
#include "agent/providers/oauth/lifetime.h"

namespace keyturn::providers {
namespace {

using nlohmann::json;

constexpr size_t kTokenMax = 64 * 1024;
constexpr size_t kFormFieldsMax = 64;
constexpr absl::Duration kRetryAfterMax = absl::Hours(1);

// False when a percent sign is followed by anything but two digits.
bool DecodeForm(absl::string_view text, std::string* out) {
  out->reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      *out += ' ';
    } else if (text[i] == '%') {
      uint32_t byte = 0;
      const absl::string_view digits = text.substr(i + 1, 2);
      if (digits.size() != 2 || !absl::ascii_isxdigit(static_cast<unsigned char>(digits[0])) ||
          !absl::SimpleHexAtoi(digits, &byte)) {
        return false;
      }
      *out += static_cast<char>(byte);
      i += 2;
    } else {
      *out += text[i];
    }
  }
  return true;
}

// Null when it is no form.
std::unique_ptr<json> ParseForm(absl::string_view text) {
  auto tree = std::make_unique<json>(json::object());
  size_t fields = 0;
  for (const absl::string_view pair : absl::StrSplit(text, '&')) {
    const size_t equals = pair.find('=');
    std::string name;
    std::string value;
    if (equals == absl::string_view::npos || ++fields > kFormFieldsMax ||
        !DecodeForm(pair.substr(0, equals), &name) ||
        !DecodeForm(pair.substr(equals + 1), &value)) {
      WipeJson(*tree);
      return nullptr;
    }
    (*tree)[name] = value;
    base::Wipe(value);
  }
  return tree;
}

}  // namespace

ReplyBody::ReplyBody(const net::HttpReply& reply) {
  const absl::string_view text = reply.body.Reveal();
  tree_ =
      absl::StartsWithIgnoreCase(reply.Header("content-type"), "application/x-www-form-urlencoded")
          ? ParseForm(text)
          : nullptr;
  // Some call JSON a form, or anything else.
  if (tree_ == nullptr) tree_ = ParseJson(text);
  if (tree_ == nullptr) tree_ = std::make_unique<json>(nullptr);
  readable_ = tree_->is_object();
  if (!readable_) {
    WipeJson(*tree_);
    *tree_ = json::object();
  }
}

ReplyBody::~ReplyBody() { WipeJson(*tree_); }

const json* ReplyBody::At(const std::string& pointer) const {
  const json* found = Lookup(*tree_, pointer);
  return found == nullptr || found->is_null() ? nullptr : found;
}

std::string ReplyBody::Text(const char* name) const {
  const auto found = tree_->find(name);
  return found != tree_->end() && found->is_string() ? found->get<std::string>() : std::string();
}

absl::Duration RetryAfterOf(const net::HttpReply& reply, const ReplyBody& body, absl::Time now) {
  const absl::string_view header = reply.Header("retry-after");
  double seconds = 0;
  absl::Duration wait = absl::ZeroDuration();
  if (absl::SimpleAtod(header, &seconds)) {
    if (std::isfinite(seconds)) wait = absl::Seconds(std::clamp(seconds, 0.0, 1e6));
  } else if (const std::optional<absl::Time> moment = ParseHttpDate(header)) {
    wait = *moment - now;
  } else if (const json* stated = body.At("/retry_after")) {
    wait = ReadLifetime(*stated, v1::OAuthQuirks::SECONDS, now);
    if (wait == absl::InfiniteDuration()) wait = absl::ZeroDuration();
  }
  return std::clamp(wait, absl::ZeroDuration(), kRetryAfterMax);
}

absl::Time ServersTime(const net::HttpReply& reply, absl::Time otherwise) {
  return ParseHttpDate(reply.Header("date")).value_or(otherwise);
}

bool IsTokenText(absl::string_view text) {
  return !text.empty() && text.size() <= kTokenMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace keyturn::providers

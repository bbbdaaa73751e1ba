// SPDX-License-Identifier: Apache-2.0
// Space is reserved for the worst case before anything is written: a string that grows leaves
// copies of secrets behind.
#include "agent/providers/oauth/request_params.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"

namespace keyturn::providers {
namespace {

constexpr char kHex[] = "0123456789ABCDEF";

void AppendFormEncoded(std::string& out, absl::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '*') {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

// RFC 8259 section 7. Bytes beyond ASCII stay as they are.
void AppendJsonText(std::string& out, absl::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

void RequestParams::Add(absl::string_view name, absl::string_view value) {
  params_.emplace_back(std::string(name), base::Secret(value));
}

void RequestParams::AddIfAny(absl::string_view name, absl::string_view value) {
  if (!value.empty()) Add(name, value);
}

void RequestParams::Replace(absl::string_view name, absl::string_view value) {
  const auto named = [name](const auto& param) { return param.first == name; };
  const auto first = std::find_if(params_.begin(), params_.end(), named);
  if (first == params_.end()) {
    Add(name, value);
    return;
  }
  first->second = base::Secret(value);
  params_.erase(std::remove_if(first + 1, params_.end(), named), params_.end());
}

base::Secret RequestParams::Form() const {
  size_t size = 0;
  for (const auto& [name, value] : params_) size += 3 * (name.size() + value.size()) + 2;
  std::string out;
  out.reserve(size);
  for (const auto& [name, value] : params_) {
    if (!out.empty()) out += '&';
    AppendFormEncoded(out, name);
    out += '=';
    AppendFormEncoded(out, value.Reveal());
  }
  return base::Secret::Take(out);
}

base::Secret RequestParams::Json() const {
  size_t size = 2;
  for (const auto& [name, value] : params_) size += 6 * (name.size() + value.size()) + 8;
  std::string out;
  out.reserve(size);
  out += '{';
  for (auto param = params_.begin(); param != params_.end(); ++param) {
    const auto same = [&](const auto& other) { return other.first == param->first; };
    if (std::any_of(params_.begin(), param, same)) continue;  // stands in the array already
    if (out.size() > 1) out += ',';
    AppendJsonText(out, param->first);
    out += ':';
    const bool several = std::any_of(param + 1, params_.end(), same);
    if (several) out += '[';
    AppendJsonText(out, param->second.Reveal());
    for (auto next = param + 1; next != params_.end(); ++next) {
      if (!same(*next)) continue;
      out += ',';
      AppendJsonText(out, next->second.Reveal());
    }
    if (several) out += ']';
  }
  out += '}';
  return base::Secret::Take(out);
}

base::Secret FormEncoded(absl::string_view text) {
  std::string out;
  out.reserve(3 * text.size());
  AppendFormEncoded(out, text);
  return base::Secret::Take(out);
}

}  // namespace keyturn::providers

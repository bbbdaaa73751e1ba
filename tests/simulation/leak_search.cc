// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/leak_search.h"

#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/check.h"

namespace keyturn::simulation {
namespace {

constexpr size_t kBefore = 80;

uint64_t StartOf(const char* text) {
  uint64_t start;
  std::memcpy(&start, text, sizeof start);
  return start;
}

size_t BitOf(uint64_t start) { return (start * 0x9e3779b97f4a7c15u) >> 48; }

// The characters of base64 that `secret` alone decides when `offset` bytes stand before it in a
// group of three; what comes before and after may be anything.
std::string Base64Inside(absl::string_view secret, size_t offset) {
  const std::string encoded = absl::Base64Escape(absl::StrCat(std::string(offset, '\0'), secret));
  const size_t first = (offset * 8 + 5) / 6;
  const size_t end = (offset + secret.size()) * 8 / 6;
  return encoded.substr(first, end - first);
}

}  // namespace

void LeakSearch::AddPattern(std::string text, std::string what) {
  const uint64_t start = StartOf(text.data());
  starts_.set(BitOf(start));
  patterns_[start].push_back({std::move(text), std::move(what)});
}

void LeakSearch::Add(absl::string_view secret) {
  KEYTURN_CHECK(secret.size() >= kShortest, "a secret too short to be looked for");
  AddPattern(std::string(secret), std::string(secret));
  for (size_t offset = 0; offset < 3; ++offset) {
    std::string text = Base64Inside(secret, offset);
    std::string for_urls = text;
    for (char& c : for_urls) c = c == '+' ? '-' : c == '/' ? '_' : c;
    if (for_urls != text) AddPattern(for_urls, absl::StrCat(secret, " in base64url"));
    AddPattern(std::move(text), absl::StrCat(secret, " in base64"));
  }
  const std::string hex = absl::BytesToHexString(secret);
  if (absl::AsciiStrToUpper(hex) != hex) {
    AddPattern(absl::AsciiStrToUpper(hex), absl::StrCat(secret, " in hex"));
  }
  AddPattern(hex, absl::StrCat(secret, " in hex"));
}

std::optional<std::string> LeakSearch::Find(absl::string_view text) const {
  for (size_t at = 0; at + kShortest <= text.size(); ++at) {
    const uint64_t start = StartOf(text.data() + at);
    if (!starts_.test(BitOf(start))) continue;
    const auto found = patterns_.find(start);
    if (found == patterns_.end()) continue;
    for (const Pattern& pattern : found->second) {
      if (!absl::StartsWith(text.substr(at), pattern.text)) continue;
      const size_t from = at < kBefore ? 0 : at - kBefore;
      return absl::StrCat(pattern.what, " after ...", text.substr(from, at - from));
    }
  }
  return std::nullopt;
}

}  // namespace keyturn::simulation

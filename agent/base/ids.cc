// SPDX-License-Identifier: Apache-2.0
#include "agent/base/ids.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace keyturn::base {
namespace {

bool SegmentMatches(absl::string_view glob, absl::string_view text) {
  size_t g = 0, t = 0, star = absl::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && (glob[g] == '?' || (glob[g] != '*' && glob[g] == text[t]))) {
      ++g, ++t;
    } else if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (star != absl::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

// The same walk as SegmentMatches with segments for characters and `**` for the star, so the work
// stays within segments x segments however many stars a glob holds.
bool PathMatches(const std::vector<absl::string_view>& glob,
                 const std::vector<absl::string_view>& path) {
  size_t g = 0, p = 0, star = absl::string_view::npos, resume = 0;
  while (p < path.size()) {
    if (g < glob.size() && glob[g] != "**" && SegmentMatches(glob[g], path[p])) {
      ++g, ++p;
    } else if (g < glob.size() && glob[g] == "**") {
      star = g++;
      resume = p;
    } else if (star != absl::string_view::npos) {
      g = star + 1;
      p = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == "**") ++g;
  return g == glob.size();
}

}  // namespace

std::string NewId(Random& random) {
  static constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
  std::string id = random.Bytes(16);
  for (char& c : id) c = kAlphabet[static_cast<unsigned char>(c) & 31];
  return id;
}

Secret NewSecret(Random& random, size_t length) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr unsigned kLetters = sizeof(kAlphabet) - 1;
  // Bytes beyond the last whole alphabet would make its first letters likelier.
  constexpr unsigned kUsable = 256 - 256 % kLetters;
  std::string text;
  text.reserve(length);
  while (text.size() < length) {
    std::string bytes = random.Bytes(2 * length);
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < kUsable && text.size() < length) text.push_back(kAlphabet[byte % kLetters]);
    }
    Wipe(bytes);
  }
  return Secret::Take(text);
}

absl::Status CheckName(absl::string_view what, absl::string_view name) {
  if (name.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " is empty"));
  if (name.size() > 253) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has ", name.size(), " characters; 253 are allowed"));
  }
  for (char c : name) {
    if (absl::ascii_islower(static_cast<unsigned char>(c)) ||
        absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' ||
        c == '/') {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat(what, " may hold a-z, 0-9, '.', '_', '-' and '/' only"));
  }
  for (absl::string_view segment : absl::StrSplit(name, '/')) {
    if (segment.empty() || segment == "." || segment == "..") {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " has an empty, '.' or '..' segment between its slashes"));
    }
  }
  return absl::OkStatus();
}

bool GlobMatches(absl::string_view glob, absl::string_view name) {
  return PathMatches(absl::StrSplit(glob, '/'), absl::StrSplit(name, '/'));
}

}  // namespace keyturn::base

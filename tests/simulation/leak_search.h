// SPDX-License-Identifier: Apache-2.0
// LeakSearch: looks for many secrets at once in a text, as they are, in base64 (of both alphabets,
// at any place of what was encoded) and in hex (of either case). One pass over the text, however
// many secrets there are. Not thread-safe.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/strings/string_view.h"

namespace keyturn::simulation {

class LeakSearch {
 public:
  // Too short to be told from ordinary text; a shorter secret cannot be looked for.
  static constexpr size_t kShortest = 8;

  void Add(absl::string_view secret);
  // Where the first of them stands: which secret, in which form, and what is before it. For tests
  // alone: the secrets are fakes.
  std::optional<std::string> Find(absl::string_view text) const;

 private:
  struct Pattern {
    std::string text;
    std::string what;
  };
  void AddPattern(std::string text, std::string what);

  // By their first eight bytes.
  std::unordered_map<uint64_t, std::vector<Pattern>> patterns_;
  // What most places of a text are told by, without a look at the map.
  std::bitset<size_t{1} << 16> starts_;
};

}  // namespace keyturn::simulation

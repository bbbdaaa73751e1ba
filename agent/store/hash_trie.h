// SPDX-License-Identifier: Apache-2.0
// HashTrie: a set of digests with a digest of the whole that one change costs O(log n) to bring up
// to date. Which changes led to a set, and in which order, leaves no trace: equal sets have equal
// roots (docs/formats/store.md, "Manifest"). In memory only. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/crypto/keyed_hash.h"

namespace keyturn::store {

class HashTrie {
 public:
  // 32 bytes. A path says which element, a content what it is. Unsigned, so that the order of paths
  // is the order of their bits.
  using Digest = std::array<unsigned char, 32>;
  static Digest Hashed(const crypto::KeyedHash& hash, absl::string_view context,
                       absl::string_view message);

  // `hash` must outlive this.
  explicit HashTrie(const crypto::KeyedHash& hash) : hash_(&hash) {}

  // Adds, replaces or (nullopt) removes; answers what was there.
  std::optional<Digest> Set(const Digest& path, const std::optional<Digest>& content);
  size_t size() const { return top_ == nullptr ? 0 : top_->size; }
  Digest Root();

 private:
  struct Leaf {
    Digest path;
    Digest content;
  };
  // The shape follows from the set alone: up to kLeavesMax elements lie in one node, more are split
  // by the next bit of their paths.
  struct Node {
    size_t size = 0;
    bool stale = true;
    Digest digest;
    std::vector<Leaf> leaves;  // ordered by path; empty when split
    std::array<std::unique_ptr<Node>, 2> halves;
  };
  static constexpr size_t kLeavesMax = 16;

  static std::optional<Digest> SetIn(Node& node, size_t depth, const Digest& path,
                                     const std::optional<Digest>& content);
  static std::optional<Digest> SetLeaf(Node& node, const Digest& path,
                                       const std::optional<Digest>& content);
  static void Split(Node& node, size_t depth);
  static void Join(Node& node);
  Digest DigestOf(Node& node) const;

  const crypto::KeyedHash* hash_;
  std::unique_ptr<Node> top_;
};

}  // namespace keyturn::store

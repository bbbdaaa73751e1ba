// SPDX-License-Identifier: Apache-2.0
#include "agent/store/hash_trie.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"

namespace keyturn::store {
namespace {

size_t BitOf(const HashTrie::Digest& path, size_t depth) {
  return (size_t{path[depth / 8]} >> (7 - depth % 8)) & 1U;
}

void Append(std::string& out, const HashTrie::Digest& digest) {
  out.append(reinterpret_cast<const char*>(digest.data()), digest.size());
}

}  // namespace

HashTrie::Digest HashTrie::Hashed(const crypto::KeyedHash& hash, absl::string_view context,
                                  absl::string_view message) {
  Digest digest;
  const std::string bytes = hash.Of(context, message, digest.size());
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

std::optional<HashTrie::Digest> HashTrie::Set(const Digest& path,
                                              const std::optional<Digest>& content) {
  if (top_ == nullptr) top_ = std::make_unique<Node>();
  return SetIn(*top_, 0, path, content);
}

std::optional<HashTrie::Digest> HashTrie::SetIn(Node& node, size_t depth, const Digest& path,
                                                const std::optional<Digest>& content) {
  if (node.halves[0] == nullptr) {
    std::optional<Digest> before = SetLeaf(node, path, content);
    if (node.size > kLeavesMax) Split(node, depth);
    return before;
  }
  Node& half = *node.halves[BitOf(path, depth)];
  const size_t size_before = half.size;
  std::optional<Digest> before = SetIn(half, depth + 1, path, content);
  node.stale = true;
  node.size = node.size - size_before + half.size;
  if (node.size <= kLeavesMax) Join(node);
  return before;
}

std::optional<HashTrie::Digest> HashTrie::SetLeaf(Node& node, const Digest& path,
                                                  const std::optional<Digest>& content) {
  node.stale = true;
  const auto at = std::lower_bound(node.leaves.begin(), node.leaves.end(), path,
                                   [](const Leaf& leaf, const Digest& p) { return leaf.path < p; });
  std::optional<Digest> before;
  if (at != node.leaves.end() && at->path == path) {
    before = at->content;
    if (content) {
      at->content = *content;
    } else {
      node.leaves.erase(at);
    }
  } else if (content) {
    node.leaves.insert(at, {path, *content});
  }
  node.size = node.leaves.size();
  return before;
}

void HashTrie::Split(Node& node, size_t depth) {
  for (auto& half : node.halves) half = std::make_unique<Node>();
  for (const Leaf& leaf : node.leaves) {
    Node& half = *node.halves[BitOf(leaf.path, depth)];
    half.leaves.push_back(leaf);
    half.size = half.leaves.size();
  }
  node.leaves.clear();
  node.leaves.shrink_to_fit();
  for (auto& half : node.halves) {
    if (half->size > kLeavesMax) Split(*half, depth + 1);
  }
}

// Neither half is split itself: they hold too few.
void HashTrie::Join(Node& node) {
  for (auto& half : node.halves) {
    node.leaves.insert(node.leaves.end(), half->leaves.begin(), half->leaves.end());
    half.reset();
  }
}

HashTrie::Digest HashTrie::Root() {
  if (top_ == nullptr) top_ = std::make_unique<Node>();
  return DigestOf(*top_);
}

HashTrie::Digest HashTrie::DigestOf(Node& node) const {
  if (!node.stale) return node.digest;
  std::string message;
  if (node.halves[0] == nullptr) {
    message.reserve(node.leaves.size() * 2 * sizeof(Digest));
    for (const Leaf& leaf : node.leaves) {
      Append(message, leaf.path);
      Append(message, leaf.content);
    }
    node.digest = Hashed(*hash_, "manifest-leaves", message);
  } else {
    for (auto& half : node.halves) Append(message, DigestOf(*half));
    node.digest = Hashed(*hash_, "manifest-halves", message);
  }
  node.stale = false;
  return node.digest;
}

}  // namespace keyturn::store

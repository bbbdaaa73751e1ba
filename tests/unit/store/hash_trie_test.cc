// SPDX-License-Identifier: Apache-2.0
// The trie against a plain map, under every order of changes.
#include "agent/store/hash_trie.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/crypto_ready.h"

namespace keyturn::store {
namespace {

using Digest = HashTrie::Digest;

const crypto::KeyedHash& Hash() {
  static const crypto::KeyedHash hash{crypto::LockedKey(std::string(32, 'h'))};
  return hash;
}

// As they are in a manifest; every third shares its first bits with others, so that nodes are split
// deeply.
Digest Path(int number) {
  Digest path = HashTrie::Hashed(Hash(), "path", std::to_string(number));
  if (number % 3 == 0) std::fill(path.begin(), path.begin() + 20, path[20] % 2 == 0 ? 0 : 255);
  return path;
}

Digest Content(int number) {
  Digest content{};
  content[0] = static_cast<unsigned char>(number);
  return content;
}

Digest RootOf(const std::map<int, int>& elements) {
  HashTrie trie(Hash());
  for (const auto& [path, content] : elements) trie.Set(Path(path), Content(content));
  return trie.Root();
}

RC_GTEST_PROP(HashTrie, TheRootIsTheSetsAlone, ()) {
  // Few enough names that sets grow and shrink across the bound at which a node is split.
  const int names = *rc::gen::inRange(2, 120);
  const auto changes = *rc::gen::container<std::vector<std::pair<int, int>>>(
      *rc::gen::inRange<size_t>(0, 300),
      rc::gen::pair(rc::gen::inRange(0, names), rc::gen::inRange(-60, 100)));
  HashTrie trie(Hash());
  std::map<int, int> elements;
  for (const auto& [path, content] : changes) {
    const auto before = elements.find(path);
    const auto answered =
        content < 0 ? trie.Set(Path(path), std::nullopt) : trie.Set(Path(path), Content(content));
    RC_ASSERT(answered.has_value() == (before != elements.end()));
    if (answered) RC_ASSERT(*answered == Content(before->second));
    if (content < 0) {
      elements.erase(path);
    } else {
      elements[path] = content;
    }
    RC_ASSERT(trie.size() == elements.size());
    if (*rc::gen::inRange(0, 4) == 0) trie.Root();  // what was worked out before must not stay
  }
  RC_ASSERT(trie.Root() == RootOf(elements));
}

TEST(HashTrie, EveryChangeChangesTheRoot) {
  std::map<int, int> elements;
  std::map<Digest, std::string> seen = {{RootOf({}), "empty"}};
  for (int i = 0; i < 100; ++i) {
    elements[i] = 1;
    EXPECT_TRUE(seen.emplace(RootOf(elements), "with " + std::to_string(i)).second) << i;
  }
  for (int i = 0; i < 100; ++i) {
    std::map<int, int> changed = elements;
    changed[i] = 2;
    EXPECT_TRUE(seen.emplace(RootOf(changed), "changed " + std::to_string(i)).second) << i;
    changed.erase(i);
    if (i != 99) {
      EXPECT_TRUE(seen.emplace(RootOf(changed), "without " + std::to_string(i)).second) << i;
    }
  }
}

TEST(HashTrie, AnotherKeyGivesAnotherRoot) {
  const crypto::KeyedHash other{crypto::LockedKey(std::string(32, 'o'))};
  HashTrie trie(other);
  trie.Set(Path(1), Content(1));
  EXPECT_NE(trie.Root(), RootOf({{1, 1}}));
}

}  // namespace
}  // namespace keyturn::store

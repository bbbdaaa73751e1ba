// SPDX-License-Identifier: Apache-2.0
// Secrets move without leaving copies and do not print.
#include "agent/base/secret.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

namespace keyturn::base {
namespace {

template <class T, class = void>
struct Streams : std::false_type {};
template <class T>
struct Streams<T, std::void_t<decltype(std::declval<std::ostream&>() << std::declval<T>())>>
    : std::true_type {};
static_assert(!Streams<Secret>::value, "a secret must not be printable");
static_assert(!std::is_convertible_v<Secret, std::string>);
static_assert(!std::is_convertible_v<std::string, Secret>);

TEST(Secret, TakeEmptiesItsSource) {
  std::string text(100, 's');
  const char* const bytes = text.data();
  const Secret secret = Secret::Take(text);
  EXPECT_EQ(secret.Reveal(), std::string(100, 's'));
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(bytes, text.data()) << "the bytes are still the string's own: they can be looked at";
  EXPECT_EQ(bytes[0], '\0');
  EXPECT_EQ(bytes[50], '\0');
}

TEST(Secret, WipeReachesBytesBeyondTheEnd) {
  std::string text(100, 's');
  text.resize(5);
  Wipe(text);
  EXPECT_EQ(text.data()[60], '\0');
}

TEST(Secret, MovesCopiesAndCompares) {
  Secret one("value");
  Secret copy = one;
  EXPECT_TRUE(copy == one);
  const Secret moved = std::move(one);
  EXPECT_TRUE(one.empty());  // NOLINT: what moving leaves behind is promised
  EXPECT_TRUE(moved == copy);
  copy = Secret("valuf");
  EXPECT_FALSE(moved == copy);
  EXPECT_FALSE(moved == Secret("value2"));
  EXPECT_TRUE(Secret() == Secret(""));
  Secret& same = copy;
  copy = same;
  EXPECT_EQ(copy.Reveal(), "valuf");
  copy.Clear();
  EXPECT_TRUE(copy.empty());
}

}  // namespace
}  // namespace keyturn::base

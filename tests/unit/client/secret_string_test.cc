// SPDX-License-Identifier: Apache-2.0
// SecretString and what Credential composes of it.
#include "keyturn/secret_string.h"

#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

#include <gtest/gtest.h>

#include "keyturn/credential.h"

namespace keyturn {
namespace {

template <typename T, typename = void>
struct CanBeStreamed : std::false_type {};
template <typename T>
struct CanBeStreamed<
    T, std::void_t<decltype(std::declval<std::ostringstream&>() << std::declval<const T&>())>>
    : std::true_type {};
static_assert(CanBeStreamed<std::string>::value);
static_assert(!CanBeStreamed<SecretString>::value);

TEST(SecretStringTest, TakeEmptiesTheSource) {
  std::string source(100, 'x');
  const char* bytes = source.data();
  const SecretString secret = SecretString::Take(source);
  EXPECT_EQ(secret.Reveal(), std::string(100, 'x'));
  EXPECT_TRUE(source.empty());
  // The string still owns its block: nothing of the secret is left in it.
  for (size_t i = 0; i < 100; ++i) ASSERT_EQ(bytes[i], '\0') << i;
}

TEST(SecretStringTest, MovingLeavesNothingBehind) {
  SecretString first("secret");
  const SecretString second = std::move(first);
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(second.Reveal(), "secret");
}

TEST(SecretStringTest, CopiesAreEqualAndIndependent) {
  SecretString first("secret");
  SecretString second = first;
  EXPECT_TRUE(first == second);
  first = SecretString("other!");
  EXPECT_FALSE(first == second);
  EXPECT_FALSE(first == SecretString("other"));
  EXPECT_EQ(second.Reveal(), "secret");
  second = *&second;
  EXPECT_EQ(second.Reveal(), "secret");
}

Credential TwoFields() {
  Credential credential;
  credential.name = "aws/uploader";
  credential.fields.push_back({"access_key_id", SecretString("AKIA1"), false});
  credential.fields.push_back({"secret", SecretString("hush"), true});
  credential.primary = "secret";
  return credential;
}

TEST(CredentialTest, HeaderIsFilledFromItsFields) {
  Credential credential = TwoFields();
  credential.header_name = "X-Key";
  credential.header_format = "id={access_key_id}, key={value}";
  EXPECT_EQ(credential.HeaderValue()->Reveal(), "id=AKIA1, key=hush");
}

TEST(CredentialTest, HeaderThatCannotBeIsAnError) {
  Credential credential = TwoFields();
  EXPECT_TRUE(absl::IsFailedPrecondition(credential.HeaderValue().status()));  // none given
  credential.header_name = "X-Key";
  credential.header_format = "{nothing}";
  EXPECT_TRUE(absl::IsFailedPrecondition(credential.HeaderValue().status()));
  credential.header_format = "{value}";
  credential.fields[1].value = SecretString("one\r\nX-Other: two");
  const auto split = credential.HeaderValue();
  EXPECT_TRUE(absl::IsFailedPrecondition(split.status()));
  EXPECT_EQ(split.status().message().find("X-Other"), absl::string_view::npos);
}

TEST(CredentialTest, ValueOfNoFieldsIsEmpty) {
  EXPECT_TRUE(Credential().value().empty());
  EXPECT_EQ(TwoFields().Find("none"), nullptr);
}

}  // namespace
}  // namespace keyturn

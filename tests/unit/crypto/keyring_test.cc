// SPDX-License-Identifier: Apache-2.0
// The keyring opens what it sealed, in its own place, with its own key, and nothing else.
#include "agent/crypto/keyring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "agent/crypto/byte_layout.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/fixed_kek_source.h"
#include "tests/fakes/seeded_random.h"

namespace keyturn::crypto {
namespace {

using testing::HasSubstr;

class KeyringTest : public testing::Test {
 protected:
  KeyringTest() : ring_(*Keyring::Create(kek_, random_)) {}

  absl::Status OpenStatus(absl::string_view header, char kek = 'k') {
    fakes::FixedKekSource source(kek);
    return Keyring::Open(header, source, random_).status();
  }

  fakes::FixedKekSource kek_{'k'};
  fakes::SeededRandom random_{1};
  std::unique_ptr<Keyring> ring_;
};

TEST_F(KeyringTest, WhatOneSealedAnotherOpensWithTheSameHeaderAndKek) {
  const std::string sealed = ring_->Seal("secret", "place");
  const auto again = Keyring::Open(ring_->header(), kek_, random_);
  ASSERT_TRUE(again.ok()) << again.status();
  const auto opened = (*again)->Open(sealed, "place");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->Reveal(), "secret");
}

TEST_F(KeyringTest, SealingTwiceGivesDifferentBytesWithoutThePlaintext) {
  const std::string a = ring_->Seal("a secret value", "place");
  EXPECT_NE(a, ring_->Seal("a secret value", "place"));
  EXPECT_FALSE(absl::StrContains(a, "secret"));
  EXPECT_EQ(a.size(), 14 + 45u);
}

TEST_F(KeyringTest, EmptyAndLargePlaintextsComeBack) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{300'000}}) {
    const std::string text(size, 'x');
    const auto opened = ring_->Open(ring_->Seal(text, ""), "");
    ASSERT_TRUE(opened.ok());
    EXPECT_TRUE(opened->Reveal() == text);
  }
}

TEST_F(KeyringTest, NoChangedByteOfARowOpens) {
  const std::string sealed = ring_->Seal("secret", "place");
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_TRUE(absl::IsDataLoss(ring_->Open(changed, "place").status())) << "byte " << i;
  }
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(ring_->Open(sealed.substr(0, size), "place").status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(ring_->Open(sealed + "x", "place").status()));
}

TEST_F(KeyringTest, ARowOpensOnlyInItsPlaceAndItsStore) {
  const std::string sealed = ring_->Seal("secret", "place");
  EXPECT_TRUE(absl::IsDataLoss(ring_->Open(sealed, "other").status()));
  EXPECT_TRUE(absl::IsDataLoss(ring_->Open(sealed, "").status()));
  const auto other = Keyring::Create(kek_, random_);
  EXPECT_TRUE(absl::IsDataLoss((*other)->Open(sealed, "place").status()));
}

TEST_F(KeyringTest, AWrongKekSaysThatItDoesNotBelongToTheStore) {
  const absl::Status status = OpenStatus(ring_->header(), 'w');
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the fixed key does not belong to this store"));
}

TEST_F(KeyringTest, AKekErrorComesThrough) {
  fakes::FixedKekSource broken(absl::NotFoundError("no keyfile"));
  EXPECT_TRUE(absl::IsNotFound(Keyring::Open(ring_->header(), broken, random_).status()));
  EXPECT_TRUE(absl::IsNotFound(Keyring::Create(broken, random_).status()));
}

TEST_F(KeyringTest, NoChangedByteOfAHeaderOpens) {
  const std::string& header = ring_->header();
  for (size_t i = 0; i < header.size(); ++i) {
    for (const int bit : {1, 0x80}) {
      std::string changed = header;
      changed[i] = static_cast<char>(changed[i] ^ bit);
      EXPECT_FALSE(OpenStatus(changed).ok()) << "byte " << i;
    }
  }
  for (size_t size = 0; size < header.size(); ++size) {
    EXPECT_FALSE(OpenStatus(header.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(OpenStatus(header + "x").ok());
}

TEST_F(KeyringTest, AChangedAuthenticationCodeIsDataLoss) {
  std::string changed = ring_->header();
  changed.back() = static_cast<char>(changed.back() ^ 1);
  const absl::Status status = OpenStatus(changed);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("authentication code"));
}

TEST_F(KeyringTest, ALaterHeaderFormatIsNamedAsSuch) {
  std::string later = ring_->header();
  later[9] = 2;
  const absl::Status status = OpenStatus(later);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("format 2"));
}

TEST_F(KeyringTest, ThePlainKeysAreNotInTheHeader) {
  EXPECT_FALSE(absl::StrContains(ring_->header(), std::string(32, 'k')));
}

TEST_F(KeyringTest, HashesAreKeyedAndSeparatedByContext) {
  const KeyedHash& hash = ring_->keyed_hash();
  EXPECT_EQ(hash.Of("refresh-token", "abc").size(), 16u);
  EXPECT_EQ(hash.Of("refresh-token", "abc"), hash.Of("refresh-token", "abc"));
  EXPECT_NE(hash.Of("refresh-token", "abc"), hash.Of("refresh-token", "abd"));
  EXPECT_NE(hash.Of("a", "bc"), hash.Of("ab", "c"));
  const auto reopened = Keyring::Open(ring_->header(), kek_, random_);
  EXPECT_EQ(hash.Of("x", "y"), (*reopened)->keyed_hash().Of("x", "y"));
  const auto other = Keyring::Create(kek_, random_);
  EXPECT_NE(hash.Of("x", "y"), (*other)->keyed_hash().Of("x", "y"));
}

TEST(StoreHeaderTest, StanzasOfUnknownKindsAndSeveralDataKeysArePartOfTheFormat) {
  StoreHeader header;
  header.uuid = std::string(16, 'u');
  header.stanzas = {{"argon2id", "salt and costs", "w1"}, {"kek", "", "w2"}};
  header.data_keys = {{1, "first"}, {7, "second"}};
  const std::string bytes = EncodeHeader(header) + std::string(kHeaderCodeSize, 'c');
  const auto parsed = ParseHeader(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->header.stanzas[0].kind, "argon2id");
  EXPECT_EQ(parsed->header.stanzas[0].parameters, "salt and costs");
  EXPECT_EQ(parsed->header.stanzas[1].wrapped_master, "w2");
  EXPECT_EQ(parsed->header.data_keys[1].id, 7u);
  EXPECT_EQ(parsed->header.data_keys[1].sealed, "second");
  EXPECT_EQ(parsed->code, std::string(kHeaderCodeSize, 'c'));
}

TEST(StoreHeaderTest, ASectionOfUnknownTypeIsNotPassedOver) {
  StoreHeader header;
  header.uuid = std::string(16, 'u');
  header.stanzas = {{"kek", "", "w"}};
  header.data_keys = {{1, "first"}};
  std::string bytes = EncodeHeader(header);
  AppendUint16(bytes, 99);
  AppendFramed(bytes, "new");
  const auto parsed = ParseHeader(bytes + std::string(kHeaderCodeSize, 'c'));
  EXPECT_TRUE(absl::IsFailedPrecondition(parsed.status())) << parsed.status();
}

TEST(StoreHeaderTest, DataKeysOutOfOrderOrNamedTwiceAreDamage) {
  StoreHeader header;
  header.uuid = std::string(16, 'u');
  header.stanzas = {{"kek", "", "w"}};
  for (const uint32_t second : {1u, 2u}) {
    header.data_keys = {{2, "first"}, {second, "second"}};
    const auto parsed = ParseHeader(EncodeHeader(header) + std::string(kHeaderCodeSize, 'c'));
    EXPECT_TRUE(absl::IsDataLoss(parsed.status())) << parsed.status();
  }
}

}  // namespace
}  // namespace keyturn::crypto

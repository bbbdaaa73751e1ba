// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/providers/signed_tokens.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace keyturn::providers {
namespace {

std::string Decoded(absl::string_view text) {
  std::string bytes;
  EXPECT_TRUE(absl::WebSafeBase64Unescape(text, &bytes)) << text;
  return bytes;
}

const unsigned char* Bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// From the two numbers side by side to OpenSSL's ASN.1.
std::string DerOf(const std::string& raw) {
  if (raw.size() != 64) return "";
  ECDSA_SIG* numbers = ECDSA_SIG_new();
  ECDSA_SIG_set0(numbers, BN_bin2bn(Bytes(raw), 32, nullptr),
                 BN_bin2bn(Bytes(raw) + 32, 32, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(numbers, &der);
  std::string text(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  ECDSA_SIG_free(numbers);
  return text;
}

}  // namespace

TestKey TestKey::Rsa(int bits) { return TestKey(EVP_RSA_gen(static_cast<unsigned>(bits))); }
TestKey TestKey::Ec(const char* curve) { return TestKey(EVP_EC_gen(curve)); }
TestKey TestKey::Ed25519() { return TestKey(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }

TestKey TestKey::OfEd25519(const std::string& secret) {
  return TestKey(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, Bytes(secret), 32));
}

TestKey TestKey::OfPem(const base::Secret& pem) {
  BIO* bio = BIO_new_mem_buf(pem.Reveal().data(), static_cast<int>(pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return TestKey(key);
}

TestKey TestKey::OfJwk(const nlohmann::json& jwk) {
  EXPECT_EQ(jwk.at("kty"), "EC");
  EXPECT_EQ(jwk.at("crv"), "P-256");
  EXPECT_FALSE(jwk.contains("d")) << "the private half";
  const std::string point = std::string("\x04") + Decoded(jwk.at("x").get<std::string>()) +
                            Decoded(jwk.at("y").get<std::string>());
  EXPECT_EQ(point.size(), 65U);
  OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
  OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(builder);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  EVP_PKEY* key = nullptr;
  EXPECT_EQ(EVP_PKEY_fromdata_init(context), 1);
  EXPECT_EQ(EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  return TestKey(key);
}

base::Secret TestKey::Pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  base::Secret pem(absl::string_view(data, static_cast<size_t>(size)));
  BIO_free(bio);
  return pem;
}

SignedToken SignedToken::Parse(absl::string_view text) {
  SignedToken token;
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  EXPECT_EQ(parts.size(), 3U) << text;
  EXPECT_FALSE(absl::StrContains(text, "=")) << "RFC 7515 wants no padding";
  if (parts.size() != 3) return token;
  token.header = nlohmann::json::parse(Decoded(parts[0]), nullptr, false);
  token.claims = nlohmann::json::parse(Decoded(parts[1]), nullptr, false);
  token.message = parts[0] + "." + parts[1];
  token.signature = Decoded(parts[2]);
  return token;
}

bool SignedToken::VerifiedBy(const TestKey& key) const {
  const std::string algorithm = header.value("alg", "");
  const bool ed = algorithm == "EdDSA";
  const std::string given = algorithm == "ES256" ? DerOf(signature) : signature;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestVerifyInit(context, nullptr, ed ? nullptr : EVP_sha256(), nullptr, key.get());
  const int good =
      EVP_DigestVerify(context, Bytes(given), given.size(), Bytes(message), message.size());
  EVP_MD_CTX_free(context);
  return good == 1;
}

bool SignedToken::VerifiedBySecret(const std::string& secret) const {
  unsigned char digest[32];
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), Bytes(message), message.size(),
       digest, &size);
  return signature == std::string(reinterpret_cast<char*>(digest), size);
}

}  // namespace keyturn::providers

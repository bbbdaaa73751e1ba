// SPDX-License-Identifier: Apache-2.0
// Keys for tests, and JWTs read and verified with OpenSSL by the rules of RFC 7515, independently
// of the code that signs. One thread.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/string_view.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

class TestKey {
 public:
  static TestKey Rsa(int bits = 2048);
  static TestKey Ec(const char* curve = "P-256");
  static TestKey Ed25519();
  // From the public half of a P-256 key as a JWK has it.
  static TestKey OfJwk(const nlohmann::json& jwk);
  // Of raw bytes, RFC 8032.
  static TestKey OfEd25519(const std::string& secret);
  static TestKey OfPem(const base::Secret& pem);

  base::Secret Pem() const;
  EVP_PKEY* get() const { return key_.get(); }

 private:
  explicit TestKey(EVP_PKEY* key) : key_(key, &EVP_PKEY_free) {}
  std::shared_ptr<EVP_PKEY> key_;
};

struct SignedToken {
  nlohmann::json header;
  nlohmann::json claims;
  std::string message;
  std::string signature;

  // Fails the test, and is empty, when the text is no token in compact form without padding.
  static SignedToken Parse(absl::string_view text);
  // With the public half, by the header's `alg`.
  bool VerifiedBy(const TestKey& key) const;
  bool VerifiedBySecret(const std::string& secret) const;
};

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/signing/jwk.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/providers/signing/digest.h"
#include "agent/providers/signing/pem_key.h"

namespace keyturn::providers {
namespace {

// Empty when OpenSSL refuses.
std::string Coordinate(const EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return "";
  const Number owned(number);
  std::string bytes(kP256Bytes, '\0');
  if (BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), kP256Bytes) !=
      kP256Bytes) {
    return "";
  }
  return absl::WebSafeBase64Escape(bytes);
}

}  // namespace

absl::StatusOr<std::string> PublicJwk(const base::Secret& pem) {
  const absl::Cleanup forget = [] { ERR_clear_error(); };
  const auto key = ReadPemKey(pem);
  if (!key.ok()) return key.status();
  if (!IsP256(key->get())) {
    return absl::InvalidArgumentError("the key is not on the curve P-256");
  }
  const std::string x = Coordinate(key->get(), OSSL_PKEY_PARAM_EC_PUB_X);
  const std::string y = Coordinate(key->get(), OSSL_PKEY_PARAM_EC_PUB_Y);
  if (x.empty() || y.empty()) return absl::InternalError("the key has no public half");
  return absl::StrCat(R"({"crv":"P-256","kty":"EC","x":")", x, R"(","y":")", y, R"("})");
}

std::string JwkThumbprint(absl::string_view jwk) {
  return absl::WebSafeBase64Escape(absl::HexStringToBytes(Sha256Hex(jwk)));
}

}  // namespace keyturn::providers

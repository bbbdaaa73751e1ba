// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/signing/jwt.h"

#include <openssl/err.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/providers/signing/digest.h"
#include "agent/providers/signing/pem_key.h"

namespace keyturn::providers {
namespace {

constexpr int kRsaBitsMin = 2048;

absl::StatusOr<Key> ReadKey(JwtSignature signature, const base::Secret& pem) {
  auto key = ReadPemKey(pem);
  if (!key.ok()) return key.status();
  const int kind = EVP_PKEY_get_base_id(key->get());
  if (signature == JwtSignature::kRs256 &&
      (kind != EVP_PKEY_RSA || EVP_PKEY_get_bits(key->get()) < kRsaBitsMin)) {
    return absl::InvalidArgumentError("RS256 needs an RSA key of at least 2048 bits");
  }
  if (signature == JwtSignature::kEs256 && !IsP256(key->get())) {
    return absl::InvalidArgumentError("ES256 needs a key on the curve P-256");
  }
  if (signature == JwtSignature::kEdDsa && kind != EVP_PKEY_ED25519) {
    return absl::InvalidArgumentError("EdDSA needs an Ed25519 key");
  }
  return key;
}

// From OpenSSL's ASN.1 to the two numbers side by side that RFC 7518 wants.
std::string RawEcSignature(const std::vector<unsigned char>& der) {
  const unsigned char* at = der.data();
  const EcSignature parsed(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (parsed == nullptr) return "";
  std::string raw(2 * kP256Bytes, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  if (BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), out, kP256Bytes) != kP256Bytes ||
      BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), out + kP256Bytes, kP256Bytes) != kP256Bytes) {
    return "";
  }
  return raw;
}

// Empty when OpenSSL refuses.
std::string Sign(JwtSignature signature, EVP_PKEY* key, absl::string_view message) {
  const DigestContext context(EVP_MD_CTX_new());
  // Ed25519 hashes for itself.
  const EVP_MD* digest = signature == JwtSignature::kEdDsa ? nullptr : EVP_sha256();
  const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
  size_t size = 0;
  if (context == nullptr || EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, message.size()) != 1) {
    return "";
  }
  std::vector<unsigned char> made(size);
  if (EVP_DigestSign(context.get(), made.data(), &size, bytes, message.size()) != 1) return "";
  made.resize(size);
  if (signature == JwtSignature::kEs256) return RawEcSignature(made);
  return {reinterpret_cast<const char*>(made.data()), made.size()};
}

}  // namespace

const char* JwtSignatureName(JwtSignature signature) {
  switch (signature) {
    case JwtSignature::kRs256:
      return "RS256";
    case JwtSignature::kEs256:
      return "ES256";
    case JwtSignature::kEdDsa:
      return "EdDSA";
    case JwtSignature::kHs256:
      break;
  }
  return "HS256";
}

std::optional<JwtSignature> JwtSignatureOf(absl::string_view name) {
  for (const JwtSignature signature :
       {JwtSignature::kRs256, JwtSignature::kEs256, JwtSignature::kEdDsa, JwtSignature::kHs256}) {
    if (name == JwtSignatureName(signature)) return signature;
  }
  return std::nullopt;
}

absl::StatusOr<base::Secret> SignJws(JwtSignature signature, const base::Secret& key,
                                     absl::string_view header, absl::string_view payload) {
  const absl::Cleanup forget = [] { ERR_clear_error(); };
  const std::string message =
      absl::StrCat(absl::WebSafeBase64Escape(header), ".", absl::WebSafeBase64Escape(payload));
  std::string made;
  if (signature == JwtSignature::kHs256) {
    if (key.empty()) return absl::InvalidArgumentError("HS256 needs a secret");
    made = std::string(HmacSha256(key.Reveal(), message).Reveal());
  } else {
    auto pem = ReadKey(signature, key);
    if (!pem.ok()) return pem.status();
    made = Sign(signature, pem->get(), message);
  }
  if (made.empty()) return absl::InternalError("the token could not be signed");
  std::string token = absl::StrCat(message, ".", absl::WebSafeBase64Escape(made));
  return base::Secret::Take(token);
}

absl::StatusOr<base::Secret> SignJwt(JwtSignature signature, const base::Secret& key,
                                     const JwtContent& content) {
  nlohmann::json header = content.header;
  header["alg"] = JwtSignatureName(signature);
  header["typ"] = "JWT";
  nlohmann::json claims = content.claims;
  claims["iat"] = absl::ToUnixSeconds(content.issued_at);
  claims["exp"] = absl::ToUnixSeconds(content.expires_at);
  try {
    return SignJws(signature, key, header.dump(), claims.dump());
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError("a claim of the token is not UTF-8");
  }
}

}  // namespace keyturn::providers

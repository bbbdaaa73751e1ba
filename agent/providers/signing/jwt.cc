// SPDX-License-Identifier: Apache-2.0
// OpenSSL keeps reasons in a queue of the thread; it is emptied here, since nobody else reads it.
#include "agent/providers/signing/jwt.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace keyturn::providers {
namespace {

constexpr int kRsaBitsMin = 2048;
constexpr int kP256Bytes = 32;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Context = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;

// Never asks a terminal.
int NoPassword(char*, int, int, void*) { return -1; }

absl::StatusOr<Key> ReadKey(JwtSignature signature, const base::Secret& pem) {
  const Bio bio(BIO_new_mem_buf(pem.Reveal().data(), static_cast<int>(pem.size())));
  Key key(bio == nullptr ? nullptr
                         : PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) {
    return absl::InvalidArgumentError("the signing key is no unencrypted private key in PEM");
  }
  if (signature == JwtSignature::kRs256) {
    if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA ||
        EVP_PKEY_get_bits(key.get()) < kRsaBitsMin) {
      return absl::InvalidArgumentError("RS256 needs an RSA key of at least 2048 bits");
    }
    return key;
  }
  char group[32] = "";
  size_t size = 0;
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_EC ||
      EVP_PKEY_get_group_name(key.get(), group, sizeof group, &size) != 1 ||
      absl::string_view(group) != "prime256v1") {
    return absl::InvalidArgumentError("ES256 needs a key on the curve P-256");
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
  const Context context(EVP_MD_CTX_new());
  const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
  size_t size = 0;
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
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

absl::StatusOr<base::Secret> SignJwt(JwtSignature signature, const base::Secret& pem,
                                     const JwtContent& content) {
  const absl::Cleanup forget = [] { ERR_clear_error(); };
  auto key = ReadKey(signature, pem);
  if (!key.ok()) return key.status();
  nlohmann::json header = content.header;
  header["alg"] = signature == JwtSignature::kRs256 ? "RS256" : "ES256";
  header["typ"] = "JWT";
  nlohmann::json claims = content.claims;
  claims["iat"] = absl::ToUnixSeconds(content.issued_at);
  claims["exp"] = absl::ToUnixSeconds(content.expires_at);
  std::string message;
  try {
    message = absl::StrCat(absl::WebSafeBase64Escape(header.dump()), ".",
                           absl::WebSafeBase64Escape(claims.dump()));
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError("a claim of the token is not UTF-8");
  }
  const std::string made = Sign(signature, key->get(), message);
  if (made.empty()) return absl::InternalError("the token could not be signed");
  std::string token = absl::StrCat(message, ".", absl::WebSafeBase64Escape(made));
  return base::Secret::Take(token);
}

}  // namespace keyturn::providers

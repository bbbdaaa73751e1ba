// SPDX-License-Identifier: Apache-2.0
// Here because only this folder speaks with OpenSSL.
#include "agent/providers/proof_key.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/cleanup/cleanup.h"
#include "agent/providers/signing/jwk.h"
#include "agent/providers/signing/pem_key.h"

namespace keyturn::providers {

absl::StatusOr<base::Secret> NewProofKey() {
  const absl::Cleanup forget = [] { ERR_clear_error(); };
  const Key key(EVP_EC_gen("P-256"));
  const Bio bio(BIO_new(BIO_s_mem()));
  if (key == nullptr || bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return absl::InternalError("no key could be made");
  }
  char* data = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(bio.get(), &data));
  base::Secret pem(absl::string_view(data, size));
  OPENSSL_cleanse(data, size);
  return pem;
}

absl::StatusOr<std::string> ProofKeyThumbprint(const base::Secret& pem) {
  const auto jwk = PublicJwk(pem);
  if (!jwk.ok()) return jwk.status();
  return JwkThumbprint(*jwk);
}

}  // namespace keyturn::providers

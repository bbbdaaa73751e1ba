// SPDX-License-Identifier: Apache-2.0
// Private keys in PEM as OpenSSL objects, and the owners of those objects. Only for the files of
// this folder. Errors name no part of a key. OpenSSL keeps its reasons in a queue of the thread,
// which callers empty (ERR_clear_error), since nobody else reads it.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include <memory>

#include "absl/status/statusor.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

inline constexpr int kP256Bytes = 32;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;
using Number = std::unique_ptr<BIGNUM, Freer<BN_free>>;

// InvalidArgument when there is no unencrypted private key in it.
absl::StatusOr<Key> ReadPemKey(const base::Secret& pem);
bool IsP256(const EVP_PKEY* key);

}  // namespace keyturn::providers

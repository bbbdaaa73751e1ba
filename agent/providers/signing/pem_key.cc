// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/signing/pem_key.h"

#include <openssl/pem.h>

#include "absl/strings/string_view.h"

namespace keyturn::providers {
namespace {

// Never asks a terminal.
int NoPassword(char*, int, int, void*) { return -1; }

}  // namespace

absl::StatusOr<Key> ReadPemKey(const base::Secret& pem) {
  const Bio bio(BIO_new_mem_buf(pem.Reveal().data(), static_cast<int>(pem.size())));
  Key key(bio == nullptr ? nullptr
                         : PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) {
    return absl::InvalidArgumentError("the signing key is no unencrypted private key in PEM");
  }
  return key;
}

bool IsP256(const EVP_PKEY* key) {
  char group[32] = "";
  size_t size = 0;
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1 &&
         absl::string_view(group) == "prime256v1";
}

}  // namespace keyturn::providers

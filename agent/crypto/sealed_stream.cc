// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/sealed_stream.h"

#include "agent/base/check.h"

namespace keyturn::crypto {
namespace {

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

absl::Status Changed() {
  return absl::DataLossError("has been changed, or a part of it is missing");
}

}  // namespace

StreamSealer::StreamSealer(const LockedKey& key) : state_(), header_(kStreamHeaderSize, '\0') {
  crypto_secretstream_xchacha20poly1305_init_push(
      &state_, reinterpret_cast<unsigned char*>(header_.data()), key.data());
}

std::string StreamSealer::Seal(absl::string_view plaintext, bool last) {
  std::string chunk(plaintext.size() + kChunkOverhead, '\0');
  const unsigned char tag = last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                                 : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
  const int result = crypto_secretstream_xchacha20poly1305_push(
      &state_, reinterpret_cast<unsigned char*>(chunk.data()), nullptr, Bytes(plaintext),
      plaintext.size(), nullptr, 0, tag);
  KEYTURN_CHECK(result == 0, "a chunk of this size can be sealed");
  return chunk;
}

StreamOpener::StreamOpener(const LockedKey& key, absl::string_view header) : state_() {
  good_ = header.size() == kStreamHeaderSize &&
          crypto_secretstream_xchacha20poly1305_init_pull(&state_, Bytes(header), key.data()) == 0;
}

absl::StatusOr<base::Secret> StreamOpener::Open(absl::string_view chunk) {
  if (!good_ || ended_ || chunk.size() < kChunkOverhead) return Changed();
  std::string plaintext(chunk.size() - kChunkOverhead, '\0');
  unsigned char tag = 0;
  if (crypto_secretstream_xchacha20poly1305_pull(
          &state_, reinterpret_cast<unsigned char*>(plaintext.data()), nullptr, &tag, Bytes(chunk),
          chunk.size(), nullptr, 0) != 0) {
    good_ = false;
    return Changed();
  }
  ended_ = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
  return base::Secret::Take(plaintext);
}

}  // namespace keyturn::crypto

// SPDX-License-Identifier: Apache-2.0
// A long text sealed in chunks, by libsodium's secretstream (XChaCha20-Poly1305): no chunk can be
// changed, left out, repeated or moved, and the last one says that it is the last. Each object is
// used from one thread.
#pragma once

#include <sodium.h>

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/secret.h"
#include "agent/crypto/locked_key.h"

namespace keyturn::crypto {

// What a chunk is longer than its plaintext.
inline constexpr size_t kChunkOverhead = crypto_secretstream_xchacha20poly1305_ABYTES;
inline constexpr size_t kStreamHeaderSize = crypto_secretstream_xchacha20poly1305_HEADERBYTES;

class StreamSealer {
 public:
  explicit StreamSealer(const LockedKey& key);
  ~StreamSealer() { sodium_memzero(&state_, sizeof(state_)); }
  StreamSealer(const StreamSealer&) = delete;
  StreamSealer& operator=(const StreamSealer&) = delete;

  // The bytes that StreamOpener begins with.
  const std::string& header() const { return header_; }
  std::string Seal(absl::string_view plaintext, bool last);

 private:
  crypto_secretstream_xchacha20poly1305_state state_;
  std::string header_;
};

class StreamOpener {
 public:
  // `header`: kStreamHeaderSize bytes.
  StreamOpener(const LockedKey& key, absl::string_view header);
  ~StreamOpener() { sodium_memzero(&state_, sizeof(state_)); }
  StreamOpener(const StreamOpener&) = delete;
  StreamOpener& operator=(const StreamOpener&) = delete;

  // DATA_LOSS unless this is the chunk that was sealed in this place.
  absl::StatusOr<base::Secret> Open(absl::string_view chunk);
  // Whether the last chunk was opened.
  bool ended() const { return ended_; }

 private:
  crypto_secretstream_xchacha20poly1305_state state_;
  bool good_ = false;
  bool ended_ = false;
};

}  // namespace keyturn::crypto

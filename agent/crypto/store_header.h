// SPDX-License-Identifier: Apache-2.0
// The bytes of a store's header, as docs/formats/store.md lays them out: who may unwrap the master
// (stanzas) and which data keys it guards. Only the layout: nothing here decides whether a header
// is genuine, so what is parsed must not be believed before Keyring has checked its code.
// Pure functions, fit for fuzzing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyturn::crypto {

inline constexpr uint16_t kHeaderFormat = 1;
inline constexpr size_t kUuidSize = 16;
inline constexpr size_t kHeaderCodeSize = 32;
inline constexpr size_t kHeaderSizeMax = 65536;

// The master key, wrapped for one source of a KEK. Several may stand in a header; any one of them
// opens the store.
struct Stanza {
  std::string kind;
  // What the source needs to make its KEK again, such as a salt. Empty for kind `kek`.
  std::string parameters;
  std::string wrapped_master;
};

struct SealedDataKey {
  uint32_t id = 0;
  std::string sealed;
};

struct StoreHeader {
  std::string uuid;
  std::vector<Stanza> stanzas;
  std::vector<SealedDataKey> data_keys;
};

// All but the authentication code, which the caller appends.
std::string EncodeHeader(const StoreHeader& header);

struct ParsedHeader {
  StoreHeader header;
  // Views into the parsed bytes: what the code covers, and the code.
  absl::string_view covered;
  absl::string_view code;
};

// DATA_LOSS for bytes that no keyturnd has written, FAILED_PRECONDITION for a later format.
absl::StatusOr<ParsedHeader> ParseHeader(absl::string_view bytes);

}  // namespace keyturn::crypto

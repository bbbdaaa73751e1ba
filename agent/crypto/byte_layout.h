// SPDX-License-Identifier: Apache-2.0
// Writing and reading the fixed layouts of docs/formats/store.md: big-endian numbers and byte
// strings preceded by their length. The reader never looks beyond its end. Plain values, no
// threading of their own.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace keyturn::crypto {

void AppendUint16(std::string& out, uint16_t value);
void AppendUint32(std::string& out, uint32_t value);
void AppendUint64(std::string& out, uint64_t value);
// The length in four bytes, then the bytes.
void AppendFramed(std::string& out, absl::string_view bytes);
// Each part framed, so that no two different lists of parts give the same bytes.
std::string Framed(std::initializer_list<absl::string_view> parts);

class LayoutReader {
 public:
  explicit LayoutReader(absl::string_view bytes) : rest_(bytes) {}

  // False when too few bytes are left; the reader stays where it was.
  bool Bytes(size_t size, absl::string_view& out);
  bool Uint8(uint8_t& out);
  bool Uint16(uint16_t& out);
  bool Uint32(uint32_t& out);
  bool Uint64(uint64_t& out);
  bool FramedBytes(absl::string_view& out);

  absl::string_view rest() const { return rest_; }

 private:
  absl::string_view rest_;
};

}  // namespace keyturn::crypto

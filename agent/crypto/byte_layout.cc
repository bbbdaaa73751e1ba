// SPDX-License-Identifier: Apache-2.0
#include "agent/crypto/byte_layout.h"

#include <limits>

#include "agent/base/check.h"

namespace keyturn::crypto {
namespace {

uint32_t BigEndian(absl::string_view bytes) {
  uint32_t value = 0;
  for (const char c : bytes) value = (value << 8) | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

void AppendUint16(std::string& out, uint16_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value & 0xff));
}

void AppendUint32(std::string& out, uint32_t value) {
  AppendUint16(out, static_cast<uint16_t>(value >> 16));
  AppendUint16(out, static_cast<uint16_t>(value & 0xffff));
}

void AppendUint64(std::string& out, uint64_t value) {
  AppendUint32(out, static_cast<uint32_t>(value >> 32));
  AppendUint32(out, static_cast<uint32_t>(value & 0xffffffff));
}

void AppendFramed(std::string& out, absl::string_view bytes) {
  KEYTURN_CHECK(bytes.size() <= std::numeric_limits<uint32_t>::max(), "a frame is under 4 GiB");
  AppendUint32(out, static_cast<uint32_t>(bytes.size()));
  out.append(bytes.data(), bytes.size());
}

std::string Framed(std::initializer_list<absl::string_view> parts) {
  std::string out;
  for (const absl::string_view part : parts) AppendFramed(out, part);
  return out;
}

bool LayoutReader::Bytes(size_t size, absl::string_view& out) {
  if (rest_.size() < size) return false;
  out = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return true;
}

bool LayoutReader::Uint8(uint8_t& out) {
  absl::string_view bytes;
  if (!Bytes(1, bytes)) return false;
  out = static_cast<uint8_t>(BigEndian(bytes));
  return true;
}

bool LayoutReader::Uint16(uint16_t& out) {
  absl::string_view bytes;
  if (!Bytes(2, bytes)) return false;
  out = static_cast<uint16_t>(BigEndian(bytes));
  return true;
}

bool LayoutReader::Uint32(uint32_t& out) {
  absl::string_view bytes;
  if (!Bytes(4, bytes)) return false;
  out = BigEndian(bytes);
  return true;
}

bool LayoutReader::Uint64(uint64_t& out) {
  absl::string_view bytes;
  if (!Bytes(8, bytes)) return false;
  out = (uint64_t{BigEndian(bytes.substr(0, 4))} << 32) | BigEndian(bytes.substr(4));
  return true;
}

bool LayoutReader::FramedBytes(absl::string_view& out) {
  const absl::string_view before = rest_;
  uint32_t size = 0;
  if (Uint32(size) && Bytes(size, out)) return true;
  rest_ = before;
  return false;
}

}  // namespace keyturn::crypto

// SPDX-License-Identifier: Apache-2.0
#include "agent/base/secret.h"

#include <sodium.h>

#include <cstring>

namespace keyturn::base {

void Wipe(std::string& text) {
  // The capacity may hold bytes of an earlier, longer value.
  text.resize(text.capacity());
  sodium_memzero(text.data(), text.size());
  text.clear();
}

Secret::Secret(absl::string_view bytes) {
  if (bytes.empty()) return;
  data_ = new char[bytes.size()];
  size_ = bytes.size();
  std::memcpy(data_, bytes.data(), size_);
}

Secret Secret::Take(std::string& bytes) {
  Secret secret(bytes);
  Wipe(bytes);
  return secret;
}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) *this = Secret(other.Reveal());
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Clear();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void Secret::Clear() {
  if (data_ == nullptr) return;
  sodium_memzero(data_, size_);
  delete[] data_;
  data_ = nullptr;
  size_ = 0;
}

bool operator==(const Secret& a, const Secret& b) {
  return a.size_ == b.size_ && (a.size_ == 0 || sodium_memcmp(a.data_, b.data_, a.size_) == 0);
}

}  // namespace keyturn::base

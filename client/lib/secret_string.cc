// SPDX-License-Identifier: Apache-2.0
// The memory of SecretString: one heap block of exactly the size needed, so that no growing leaves
// a copy behind, overwritten by explicit_bzero before it is given back.
#include "keyturn/secret_string.h"

#include <string.h>

namespace keyturn {

SecretString::SecretString(absl::string_view bytes) : size_(bytes.size()) {
  if (size_ == 0) return;
  data_ = new char[size_];
  memcpy(data_, bytes.data(), size_);
}

SecretString SecretString::Take(std::string& bytes) {
  SecretString taken{absl::string_view(bytes)};
  WipeString(bytes);
  return taken;
}

SecretString& SecretString::operator=(const SecretString& other) {
  if (this != &other) *this = SecretString(other);
  return *this;
}

SecretString& SecretString::operator=(SecretString&& other) noexcept {
  if (this != &other) {
    Clear();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void SecretString::Clear() {
  if (data_ != nullptr) explicit_bzero(data_, size_);
  delete[] data_;
  data_ = nullptr;
  size_ = 0;
}

bool operator==(const SecretString& a, const SecretString& b) {
  if (a.size_ != b.size_) return false;
  volatile unsigned char difference = 0;
  for (size_t i = 0; i < a.size_; ++i) {
    difference = static_cast<unsigned char>(difference | (a.data_[i] ^ b.data_[i]));
  }
  return difference == 0;
}

void WipeString(std::string& text) {
  // The whole block, beyond what is in use: what was longer before may still be there.
  text.resize(text.capacity());
  if (!text.empty()) explicit_bzero(text.data(), text.size());
  text.clear();
}

}  // namespace keyturn

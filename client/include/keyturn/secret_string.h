// SPDX-License-Identifier: Apache-2.0
// SecretString: bytes that must not leak. It cannot be streamed or formatted, its memory is
// overwritten when it is destroyed, assigned or cleared, and its content is reached only through
// Reveal(), so that a search for `Reveal(` finds every place that handles a secret.
// Moving leaves the source empty. As thread-safe as a std::string: const use may be shared.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace keyturn {

class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(absl::string_view bytes);
  // Takes the bytes, and overwrites and empties the source.
  static SecretString Take(std::string& bytes);

  SecretString(const SecretString& other) : SecretString(other.Reveal()) {}
  SecretString(SecretString&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SecretString& operator=(const SecretString& other);
  SecretString& operator=(SecretString&& other) noexcept;
  ~SecretString() { Clear(); }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // Valid while this object lives unchanged. Do not keep copies of what it shows.
  absl::string_view Reveal() const { return {data_, size_}; }
  void Clear();

  // Takes the same time wherever two secrets of one size differ.
  friend bool operator==(const SecretString& a, const SecretString& b);

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

// Overwrites the bytes of a string in a way that no optimizer removes, then empties it.
void WipeString(std::string& text);

}  // namespace keyturn

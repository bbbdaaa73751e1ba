// SPDX-License-Identifier: Apache-2.0
// Secret: bytes that must not leak. No stream or format support, wiped on destruction, compared in
// constant time, and readable only through Reveal, whose callers a search for `Reveal(` finds.
// Moving leaves the source empty. Not thread-safe beyond what const gives.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace keyturn::base {

// Overwrites the string's bytes in a way the compiler keeps, then empties it.
void Wipe(std::string& text);

class Secret {
 public:
  Secret() = default;
  explicit Secret(absl::string_view bytes);
  // Takes the bytes and wipes the source.
  static Secret Take(std::string& bytes);

  Secret(const Secret& other) : Secret(other.Reveal()) {}
  Secret& operator=(const Secret& other);
  Secret(Secret&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { Clear(); }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // The view is valid while this object is unchanged.
  absl::string_view Reveal() const { return {data_, size_}; }
  void Clear();

  // Constant time for secrets of equal size.
  friend bool operator==(const Secret& a, const Secret& b);

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace keyturn::base

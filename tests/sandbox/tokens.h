// SPDX-License-Identifier: Apache-2.0
//
// Makes the sandbox's fake secrets and identifiers. Every secret carries the word "canary", so a
// test can search logs, databases and errors for anything that leaked. With a seed the sequence
// is the same in every run. These are not fit to protect anything. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

namespace keyturn::sandbox {

class TokenSource {
 public:
  explicit TokenSource(std::optional<uint64_t> seed);

  // "app-" and 24 characters, the form of a Dify app key.
  std::string AppKey();
  std::string AccessToken();
  std::string RefreshToken();
  // A version 4 UUID; names a thing, protects nothing, so it carries no marker.
  std::string Uuid();

 private:
  std::string Random(size_t length, const char* alphabet, size_t alphabet_size);

  std::mt19937_64 generator_;
};

}  // namespace keyturn::sandbox

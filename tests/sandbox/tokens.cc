// SPDX-License-Identifier: Apache-2.0
//
// The generator is a Mersenne twister because replaying a run by its seed matters here and
// unpredictability does not. Not thread-safe; the service calls it under its lock.
#include "tests/sandbox/tokens.h"

#include <absl/strings/str_cat.h>

namespace keyturn::sandbox {
namespace {

constexpr char kAlphanumeric[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
constexpr char kHex[] = "0123456789abcdef";
constexpr char kUuidVariant[] = "89ab";

uint64_t SeedFrom(std::optional<uint64_t> seed) {
  if (seed.has_value()) return *seed;
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

TokenSource::TokenSource(std::optional<uint64_t> seed) : generator_(SeedFrom(seed)) {}

std::string TokenSource::Random(size_t length, const char* alphabet, size_t alphabet_size) {
  std::uniform_int_distribution<size_t> pick(0, alphabet_size - 1);
  std::string text;
  for (size_t i = 0; i < length; ++i) text.push_back(alphabet[pick(generator_)]);
  return text;
}

std::string TokenSource::AppKey() {
  return absl::StrCat("app-canary", Random(18, kAlphanumeric, sizeof(kAlphanumeric) - 1));
}

std::string TokenSource::AccessToken() {
  return absl::StrCat("at-canary-", Random(32, kAlphanumeric, sizeof(kAlphanumeric) - 1));
}

std::string TokenSource::RefreshToken() {
  return absl::StrCat("rt-canary-", Random(32, kAlphanumeric, sizeof(kAlphanumeric) - 1));
}

std::string TokenSource::Uuid() {
  const auto hex = [this](size_t length) { return Random(length, kHex, sizeof(kHex) - 1); };
  // Separate statements: the order in which arguments are evaluated is not fixed, and one seed
  // must give one sequence whatever the compiler.
  std::string uuid = hex(8);
  absl::StrAppend(&uuid, "-", hex(4));
  absl::StrAppend(&uuid, "-4", hex(3));
  absl::StrAppend(&uuid, "-", Random(1, kUuidVariant, sizeof(kUuidVariant) - 1));
  absl::StrAppend(&uuid, hex(3));
  absl::StrAppend(&uuid, "-", hex(12));
  return uuid;
}

}  // namespace keyturn::sandbox

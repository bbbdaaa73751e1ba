// SPDX-License-Identifier: Apache-2.0
// A KEK that is 32 times the same byte, or an error instead of one. Thread-safe.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "agent/crypto/kek_source.h"

namespace keyturn::fakes {

class FixedKekSource final : public crypto::KekSource {
 public:
  explicit FixedKekSource(char byte = 'k') : key_(base::Secret(std::string(32, byte))) {}
  explicit FixedKekSource(absl::Status error) : key_(std::move(error)) {}

  absl::StatusOr<base::Secret> Load() override { return key_; }
  std::string Describe() const override { return "fixed key"; }

 private:
  const absl::StatusOr<base::Secret> key_;
};

}  // namespace keyturn::fakes

// SPDX-License-Identifier: Apache-2.0
// An anchor in memory, which can be made to fail. Outlives the stores that drop it.
#pragma once

#include <string>

#include "agent/store/anchor.h"

namespace keyturn::fakes {

class MemoryAnchor final : public store::Anchor {
 public:
  absl::StatusOr<std::string> Read() override {
    if (unreadable) return absl::PermissionDeniedError("injected: the anchor cannot be read");
    return content;
  }
  absl::Status Write(absl::string_view text) override {
    if (broken) return absl::InternalError("injected: the anchor cannot be written");
    content = std::string(text);
    return absl::OkStatus();
  }
  void Note(absl::string_view text) override { (void)Write(text); }

  std::string content;
  bool broken = false;
  bool unreadable = false;
};

}  // namespace keyturn::fakes

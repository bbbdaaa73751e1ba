// SPDX-License-Identifier: Apache-2.0
// Anchor: where the store notes how far it has come, outside of itself. Whoever puts an older copy
// of the database back does not put the anchor back with it, and so is found out
// (docs/formats/store.md). Used from one thread at a time; calls block on the disk.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyturn::store {

class Anchor {
 public:
  virtual ~Anchor() = default;
  // What was written last; empty when nothing ever was.
  virtual absl::StatusOr<std::string> Read() = 0;
  // Durable when this returns OK; else what was written before is still there.
  virtual absl::Status Write(absl::string_view content) = 0;
  // The same, as well as it can be done without waiting for the disk: a loss of power may bring
  // back what was there before, and errors are nobody's.
  virtual void Note(absl::string_view content) = 0;
};

// A file. It does what it is for only where it is not part of the same backup as the database.
class FileAnchor final : public Anchor {
 public:
  explicit FileAnchor(std::string path) : path_(std::move(path)) {}
  absl::StatusOr<std::string> Read() override;
  absl::Status Write(absl::string_view content) override;
  void Note(absl::string_view content) override;

 private:
  const std::string path_;
};

}  // namespace keyturn::store

// SPDX-License-Identifier: Apache-2.0
// Presets: what Keyturn knows about OAuth services, read from the preset files of some directories
// at the start and checked as far as a file can be by itself. The rules for tokens hold for what
// comes out when a preset is used, and what breaks them then is said with the preset's file.
// Immutable after Load, hence thread-safe.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keyturn/internal/v1/preset.pb.h"

namespace keyturn::providers {

struct Preset {
  internal::v1::Preset spec;
  // The file's text and where it is, for people.
  std::string yaml;
  std::string file;
};

// InvalidArgument opens with FILE:LINE:COLUMN and says what is wrong.
absl::StatusOr<Preset> ReadPreset(absl::string_view yaml, absl::string_view file_name);

class Presets {
 public:
  Presets() = default;
  // All *.yaml of each; a preset of a later directory replaces one of the same name. The first
  // error of any file, or NOT_FOUND for a directory that is not there.
  static absl::StatusOr<Presets> Load(const std::vector<std::string>& directories);

  void Add(Preset preset);
  // Null when there is none of that name.
  const Preset* Find(absl::string_view name) const;
  const std::map<std::string, Preset, std::less<>>& all() const { return presets_; }

 private:
  std::map<std::string, Preset, std::less<>> presets_;
};

// The names in `{NAME}` of a text, in order; a lone brace is INVALID_ARGUMENT.
absl::StatusOr<std::vector<std::string>> PlaceholdersOf(absl::string_view text);

// Calls `visit` for every text in the message, the values of maps included; `path` is the names of
// the fields to it. Texts may be changed.
void VisitTexts(
    google::protobuf::Message& message, std::vector<std::string>& path,
    const std::function<void(const std::vector<std::string>& path, std::string& text)>& visit);

}  // namespace keyturn::providers

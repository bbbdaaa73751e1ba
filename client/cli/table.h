// SPDX-License-Identifier: Apache-2.0
// Tables and lists of facts for people: aligned columns without borders. What comes from elsewhere
// cannot steer the terminal: control characters become '?'. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace keyturn::cli {

// The text without control characters; line breaks become spaces unless they are kept.
std::string Printable(absl::string_view text, bool keep_line_breaks = false);

class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  // One cell per column. An empty cell is shown as `-`.
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  // Columns that hold nothing in any row are left out.
  std::string Render(bool bold_header) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// `name:   value` lines; facts without a value are left out.
class Facts {
 public:
  void Add(std::string name, const std::string& value);
  std::string Render() const;

 private:
  std::vector<std::pair<std::string, std::string>> facts_;
};

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// Rendering: columns are as wide as their widest cell, counted in code points.
#include "client/cli/table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace keyturn::cli {
namespace {

constexpr absl::string_view kGap = "  ";

size_t WidthOf(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not a continuation byte of UTF-8
  }));
}

std::string RenderLine(const std::vector<std::string>& cells, const std::vector<size_t>& widths) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (widths[i] == 0) continue;
    if (!line.empty()) absl::StrAppend(&line, kGap);
    absl::StrAppend(&line, cells[i], std::string(widths[i] - WidthOf(cells[i]), ' '));
  }
  return std::string(absl::StripTrailingAsciiWhitespace(line));
}

}  // namespace

std::string Printable(absl::string_view text, bool keep_line_breaks) {
  std::string clean;
  clean.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || c == '\t') {
      clean.push_back(keep_line_breaks ? c : ' ');
    } else {
      clean.push_back(byte < 0x20 || byte == 0x7f ? '?' : c);
    }
  }
  return clean;
}

std::string Table::Render(bool bold_header) const {
  std::vector<size_t> widths(header_.size(), 0);
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : rows_) {
    std::vector<std::string>& cells = rows.emplace_back();
    for (size_t i = 0; i < header_.size(); ++i) {
      cells.push_back(i < row.size() ? Printable(row[i]) : std::string());
      if (!cells[i].empty()) widths[i] = std::max({widths[i], WidthOf(cells[i]), size_t{1}});
    }
  }
  for (size_t i = 0; i < header_.size(); ++i) {
    if (widths[i] > 0 || rows.empty()) widths[i] = std::max(widths[i], WidthOf(header_[i]));
  }
  const std::string header = RenderLine(header_, widths);
  std::string text =
      bold_header ? absl::StrCat("\x1b[1m", header, "\x1b[0m\n") : absl::StrCat(header, "\n");
  for (auto& cells : rows) {
    for (std::string& cell : cells) {
      if (cell.empty()) cell = "-";
    }
    absl::StrAppend(&text, RenderLine(cells, widths), "\n");
  }
  return text;
}

void Facts::Add(std::string name, const std::string& value) {
  if (!value.empty()) facts_.emplace_back(std::move(name), Printable(value));
}

std::string Facts::Render() const {
  size_t width = 0;
  for (const auto& [name, value] : facts_) width = std::max(width, WidthOf(name) + 1);
  std::string text;
  for (const auto& [name, value] : facts_) {
    absl::StrAppend(&text, name, ":", std::string(width - WidthOf(name), ' '), value, "\n");
  }
  return text;
}

}  // namespace keyturn::cli

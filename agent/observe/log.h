// SPDX-License-Identifier: Apache-2.0
// Structured logs: one JSON object a line on stderr, and the same fields in the journal when
// systemd started the process. A base::Secret has no conversion to a LogValue, so it cannot get in
// here. Thread-safe; a full pipe blocks the writer.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace keyturn::observe {

enum class Level { kDebug, kInfo, kWarning, kError };

class LogValue {
 public:
  LogValue(const char* text) : value_(std::string(text)) {}            // NOLINT
  LogValue(const std::string& text) : value_(text) {}                  // NOLINT
  LogValue(absl::string_view text) : value_(std::string(text)) {}      // NOLINT
  LogValue(bool flag) : value_(flag) {}                                // NOLINT
  LogValue(int number) : value_(static_cast<int64_t>(number)) {}       // NOLINT
  LogValue(int64_t number) : value_(number) {}                         // NOLINT
  LogValue(uint32_t number) : value_(static_cast<int64_t>(number)) {}  // NOLINT
  LogValue(uint64_t number) : value_(static_cast<int64_t>(number)) {}  // NOLINT
  LogValue(double number) : value_(number) {}                          // NOLINT
  // As RFC 3339 in UTC.
  LogValue(absl::Time time);  // NOLINT

  using Held = std::variant<std::string, bool, int64_t, double>;
  const Held& held() const { return value_; }

 private:
  Held value_;
};

using LogFields = std::vector<std::pair<std::string, LogValue>>;

class Log {
 public:
  virtual ~Log() = default;
  // `event` is a fixed word such as `audit`, `failure`, `started`. Fields of equal name: last wins.
  virtual void Write(Level level, absl::string_view event, const LogFields& fields) = 0;
};

// The line `{"time":...,"level":...,"event":...,FIELDS}` without its newline; invalid UTF-8 is
// replaced, so a line is always one line of valid JSON.
std::string FormatLine(absl::Time time, Level level, absl::string_view event,
                       const LogFields& fields);

// Null unless `text` is debug, info, warning or error.
bool ParseLevel(absl::string_view text, Level& level);

}  // namespace keyturn::observe

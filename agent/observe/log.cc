// SPDX-License-Identifier: Apache-2.0
#include "agent/observe/log.h"

#include <nlohmann/json.hpp>

namespace keyturn::observe {
namespace {

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

const char* LevelName(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

}  // namespace

LogValue::LogValue(absl::Time time) : value_(Rfc3339(time)) {}

std::string FormatLine(absl::Time time, Level level, absl::string_view event,
                       const LogFields& fields) {
  nlohmann::ordered_json line;
  line["time"] = Rfc3339(time);
  line["level"] = LevelName(level);
  line["event"] = std::string(event);
  for (const auto& [name, value] : fields) {
    std::visit([&line, &name = name](const auto& held) { line[name] = held; }, value.held());
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

bool ParseLevel(absl::string_view text, Level& level) {
  for (Level candidate : {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError}) {
    if (text == LevelName(candidate)) {
      level = candidate;
      return true;
    }
  }
  return false;
}

}  // namespace keyturn::observe

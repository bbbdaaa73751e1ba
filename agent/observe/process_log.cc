// SPDX-License-Identifier: Apache-2.0
#include "agent/observe/process_log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "agent/base/clock.h"

namespace keyturn::observe {
namespace {

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

int ToPriority(Level level) {
  switch (level) {
    case Level::kDebug:
      return LOG_DEBUG;
    case Level::kInfo:
      return LOG_INFO;
    case Level::kWarning:
      return LOG_WARNING;
    case Level::kError:
      return LOG_ERR;
  }
  return LOG_ERR;
}

// systemd.exec(5): $JOURNAL_STREAM holds device:inode of the stream that stderr was connected to.
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");  // NOLINT(concurrency-mt-unsafe): at start
  struct stat info {};
  return stream != nullptr && fstat(STDERR_FILENO, &info) == 0 &&
         absl::StrCat(info.st_dev, ":", info.st_ino) == stream;
}

std::string AsText(const LogValue& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, bool>) {
          return held ? "true" : "false";
        } else {
          return absl::StrCat(held);
        }
      },
      value.held());
}

void SendToJournal(Level level, absl::string_view event, const LogFields& fields,
                   const std::string& line) {
  std::vector<std::string> entries;
  entries.push_back(absl::StrCat("MESSAGE=", line));
  entries.push_back(absl::StrCat("PRIORITY=", ToPriority(level)));
  entries.push_back("SYSLOG_IDENTIFIER=keyturnd");
  entries.push_back(absl::StrCat("KEYTURN_EVENT=", event));
  for (const auto& [name, value] : fields) {
    entries.push_back(absl::StrCat("KEYTURN_", absl::AsciiStrToUpper(name), "=", AsText(value)));
  }
  std::vector<iovec> parts;
  parts.reserve(entries.size());
  for (std::string& entry : entries) parts.push_back({entry.data(), entry.size()});
  sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

}  // namespace

ProcessLog::ProcessLog(Level level)
    : to_journal_(StderrIsJournal()),
      logger_(std::make_shared<spdlog::logger>("keyturn",
                                               std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
  logger_->set_pattern("%v");
  logger_->flush_on(spdlog::level::debug);
  SetLevel(level);
}

ProcessLog::~ProcessLog() = default;

void ProcessLog::SetLevel(Level level) { logger_->set_level(ToSpdlog(level)); }

void ProcessLog::Write(Level level, absl::string_view event, const LogFields& fields) {
  if (!logger_->should_log(ToSpdlog(level))) return;
  const std::string line = FormatLine(base::SystemClock().WallNow(), level, event, fields);
  if (to_journal_) {
    SendToJournal(level, event, fields, line);
  } else {
    logger_->log(ToSpdlog(level), "{}", line);
  }
}

}  // namespace keyturn::observe

// SPDX-License-Identifier: Apache-2.0
// The process's own log: JSON lines on stderr through spdlog; under systemd ($JOURNAL_STREAM names
// our stderr) the journal gets each field by its own name (KEYTURN_CODE, KEYTURN_CREDENTIAL, ...)
// instead. Thread-safe.
#pragma once

#include <memory>

#include "agent/observe/log.h"

namespace spdlog {
class logger;
}

namespace keyturn::observe {

class ProcessLog final : public Log {
 public:
  explicit ProcessLog(Level level);
  ~ProcessLog() override;
  void SetLevel(Level level);
  void Write(Level level, absl::string_view event, const LogFields& fields) override;

 private:
  const bool to_journal_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace keyturn::observe

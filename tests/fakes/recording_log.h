// SPDX-License-Identifier: Apache-2.0
// A log that remembers its lines, for tests that look for a failure or for a leaked secret.
// Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "agent/observe/log.h"

namespace keyturn::fakes {

class RecordingLog final : public observe::Log {
 public:
  void Write(observe::Level level, absl::string_view event,
             const observe::LogFields& fields) override {
    std::string line = observe::FormatLine(absl::UnixEpoch(), level, event, fields);
    absl::MutexLock lock(&mu_);
    lines_.push_back(std::move(line));
  }

  std::vector<std::string> lines() const {
    absl::MutexLock lock(&mu_);
    return lines_;
  }
  // How many lines hold all of these texts.
  int Count(const std::vector<std::string>& texts) const {
    absl::MutexLock lock(&mu_);
    int count = 0;
    for (const std::string& line : lines_) {
      bool all = true;
      for (const std::string& text : texts) all = all && absl::StrContains(line, text);
      count += all ? 1 : 0;
    }
    return count;
  }
  // Lines of failures with this code.
  int Failures(const std::string& code) const {
    return Count({"\"event\":\"failure\"", absl::StrCat("\"code\":\"", code, "\"")});
  }
  int Resolved(const std::string& code) const {
    return Count({"\"event\":\"RESOLVED\"", absl::StrCat("\"code\":\"", code, "\"")});
  }
  void Clear() {
    absl::MutexLock lock(&mu_);
    lines_.clear();
  }

 private:
  mutable absl::Mutex mu_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::fakes

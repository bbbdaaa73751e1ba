// SPDX-License-Identifier: Apache-2.0
// The progress line: one thread that sleeps most of the time.
#include "client/cli/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/duration_text.h"

namespace keyturn::cli {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(1);

void Write(const std::string& text) {
  fputs(text.c_str(), stderr);
  fflush(stderr);
}

}  // namespace

Progress::Progress(std::string what) : what_(std::move(what)) {
  if (isatty(STDERR_FILENO) == 1) thread_ = std::thread([this] { Show(); });
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mutex_);
    done_ = true;
  }
  thread_.join();
}

void Progress::Show() {
  const absl::Time start = absl::Now();
  bool shown = false;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&done_), kPatience)) break;
    }
    const absl::Duration waited = absl::Trunc(absl::Now() - start, absl::Seconds(1));
    Write(absl::StrCat("\r", what_, " ... ", ReadableDuration(waited), "\x1b[K"));
    shown = true;
  }
  if (shown) Write("\r\x1b[K");
}

}  // namespace keyturn::cli

// SPDX-License-Identifier: Apache-2.0
// keyturnd with its crash points observed: the very program, killed, or refused a commit, where a
// test says. Three environment variables. KEYTURN_CRASH_LOG names a file to which each point passed
// is appended. KEYTURN_CRASH_AT=POINT:N kills the process with SIGKILL at the N-th passing of
// POINT, or of any point of a rotation when POINT is "*". KEYTURN_FAIL_COMMIT=N:KIND lets the N-th
// commit of a rotation fail, KIND being disk_full, broken_disk, unknown_before or unknown_after.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "agent/agent_main.h"
#include "agent/base/crash_point.h"
#include "tests/fakes/faulty_backend.h"

namespace {

using keyturn::fakes::CommitFault;
using keyturn::fakes::FaultyBackend;

// All but the counts are set before any thread starts, then only read.
int g_log = -1;
std::string g_point;
std::atomic<int> g_left{0};
CommitFault g_fault = CommitFault::kDiskFull;
std::atomic<int> g_commits_left{0};
std::optional<FaultyBackend> g_backend;

bool IsAwaited(absl::string_view point) {
  return point == g_point || (g_point == "*" && absl::StartsWith(point, "rotation:"));
}

void Observe(absl::string_view point) {
  if (g_log >= 0) {
    const std::string line = std::string(point) + "\n";
    [[maybe_unused]] const ssize_t n = write(g_log, line.data(), line.size());
  }
  if (IsAwaited(point) && g_left.fetch_sub(1) == 1) kill(getpid(), SIGKILL);
  // The commit that follows on this thread is the rotation's own: one thread makes all commits.
  if (absl::StartsWith(point, "rotation:") && absl::EndsWith(point, ":before_commit") &&
      g_commits_left.fetch_sub(1) == 1) {
    g_backend->FailCommit(1, g_fault);
  }
}

keyturn::store::Backend& Decorate(keyturn::store::Backend& real) { return g_backend.emplace(real); }

bool ReadFault(absl::string_view name) {
  if (name == "disk_full") {
    g_fault = CommitFault::kDiskFull;
  } else if (name == "broken_disk") {
    g_fault = CommitFault::kBrokenDisk;
  } else if (name == "unknown_before") {
    g_fault = CommitFault::kUnknownBefore;
  } else if (name == "unknown_after") {
    g_fault = CommitFault::kUnknownAfter;
  } else {
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* path = std::getenv("KEYTURN_CRASH_LOG"); path != nullptr) {
    g_log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  }
  if (const char* at = std::getenv("KEYTURN_CRASH_AT"); at != nullptr) {
    const std::string text = at;
    const size_t colon = text.rfind(':');
    int count = 0;
    if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(colon + 1), &count)) return 2;
    g_point = text.substr(0, colon);
    g_left = count;
  }
  if (const char* fail = std::getenv("KEYTURN_FAIL_COMMIT"); fail != nullptr) {
    const std::string text = fail;
    const size_t colon = text.find(':');
    int nth = 0;
    if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(0, colon), &nth) ||
        !ReadFault(text.substr(colon + 1))) {
      return 2;
    }
    g_commits_left = nth;
  }
  keyturn::base::SetCrashPointObserver(Observe);
  return keyturn::AgentMain(argc, argv, Decorate);
}

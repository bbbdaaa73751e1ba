// SPDX-License-Identifier: Apache-2.0
// keyturnd with its crash points observed: the very program, killed where a test says. Two
// environment variables: KEYTURN_CRASH_LOG names a file to which each point passed is appended;
// KEYTURN_CRASH_AT=POINT:N kills the process with SIGKILL at the N-th passing of POINT.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "agent/agent_main.h"
#include "agent/base/crash_point.h"

namespace {

int g_log = -1;
std::string g_point;  // set before any thread starts, then only read
std::atomic<int> g_left{0};

void Observe(absl::string_view point) {
  if (g_log >= 0) {
    const std::string line = std::string(point) + "\n";
    [[maybe_unused]] const ssize_t n = write(g_log, line.data(), line.size());
  }
  if (point == g_point && g_left.fetch_sub(1) == 1) kill(getpid(), SIGKILL);
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
  keyturn::base::SetCrashPointObserver(Observe);
  return keyturn::AgentMain(argc, argv);
}

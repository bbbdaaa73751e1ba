// SPDX-License-Identifier: Apache-2.0
// keyturnd with its crash points observed: the very program, killed, or refused a commit or a
// write, where a test says. Four environment variables. KEYTURN_CRASH_LOG names a file to which
// each point passed is appended. KEYTURN_CRASH_AT=POINT:N kills the process with SIGKILL at the
// N-th passing of POINT, or of any point of a rotation when POINT is "*".
// KEYTURN_FAIL_COMMIT=N:KIND lets the N-th commit of a rotation fail, KIND being disk_full,
// broken_disk, unknown_before or unknown_after. KEYTURN_FAIL_WRITE=N:KIND lets the N-th call fail
// with which SQLite changes a file after the first point of a rotation, KIND being disk_full,
// io_error, short, lost_sync or killed (fakes::WriteFault); each of these calls is in the log as
// well, and with N = 0 none fails.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "agent/agent_main.h"
#include "agent/base/crash_point.h"
#include "tests/fakes/faulty_backend.h"
#include "tests/fakes/faulty_vfs.h"

namespace {

using keyturn::fakes::CommitFault;
using keyturn::fakes::FaultyBackend;
using keyturn::fakes::FaultyVfs;
using keyturn::fakes::WriteFault;

// All but the counts are set before any thread starts, then only read.
int g_log = -1;
std::string g_point;
std::atomic<int> g_left{0};
CommitFault g_fault = CommitFault::kDiskFull;
std::atomic<int> g_commits_left{0};
std::optional<FaultyBackend> g_backend;
// Never destroyed: the store may outlive main().
FaultyVfs* g_vfs = nullptr;
uint64_t g_failing_write = 0;
WriteFault g_write_fault = WriteFault::kIoError;
std::atomic<bool> g_in_rotation{false};

// The shortest rotation, of four commits, has a checkpoint with this, and the WAL begins anew.
constexpr int kCheckpointEvery = 6;

bool IsAwaited(absl::string_view point) {
  return point == g_point || (g_point == "*" && absl::StartsWith(point, "rotation:"));
}

void Log(absl::string_view what) {
  if (g_log < 0) return;
  const std::string line = std::string(what) + "\n";
  [[maybe_unused]] const ssize_t n = write(g_log, line.data(), line.size());
}

void Observe(absl::string_view point) {
  Log(point);
  if (IsAwaited(point) && g_left.fetch_sub(1) == 1) kill(getpid(), SIGKILL);
  // The commit that follows on this thread is the rotation's own: one thread makes all commits.
  if (absl::StartsWith(point, "rotation:") && absl::EndsWith(point, ":before_commit") &&
      g_commits_left.fetch_sub(1) == 1) {
    g_backend->FailCommit(1, g_fault);
  }
  if (g_vfs != nullptr && absl::StartsWith(point, "rotation:") && !g_in_rotation.exchange(true) &&
      g_failing_write > 0) {
    g_vfs->Fail(g_failing_write, g_write_fault);
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

bool ReadFault(absl::string_view name, WriteFault& fault) {
  constexpr std::pair<absl::string_view, WriteFault> kFaults[] = {
      {"disk_full", WriteFault::kDiskFull}, {"io_error", WriteFault::kIoError},
      {"short", WriteFault::kShortWrite},   {"lost_sync", WriteFault::kLostSync},
      {"killed", WriteFault::kKilled},
  };
  for (const auto& [known, value] : kFaults) {
    if (known != name) continue;
    fault = value;
    return true;
  }
  return false;
}

void ObserveWrites() {
  g_vfs = new FaultyVfs;
  g_vfs->CheckpointEvery(kCheckpointEvery);
  g_vfs->OnCall([](absl::string_view call) {
    if (g_in_rotation) Log(call);
  });
  g_vfs->OnKill([] { kill(getpid(), SIGKILL); });
}

// N:KIND.
bool ReadFailingWrite(const std::string& text) {
  const size_t colon = text.find(':');
  return colon != std::string::npos && absl::SimpleAtoi(text.substr(0, colon), &g_failing_write) &&
         ReadFault(text.substr(colon + 1), g_write_fault);
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
  if (const char* fail = std::getenv("KEYTURN_FAIL_WRITE"); fail != nullptr) {
    if (!ReadFailingWrite(fail)) return 2;
    ObserveWrites();
  }
  keyturn::base::SetCrashPointObserver(Observe);
  return keyturn::AgentMain(argc, argv, Decorate);
}

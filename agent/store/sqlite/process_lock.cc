// SPDX-License-Identifier: Apache-2.0
#include "agent/store/sqlite/process_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"

namespace keyturn::store {
namespace {

// The holder as it wrote itself down; it may just be about to.
std::string Holder(int fd) {
  char text[32] = {};
  const ssize_t n = pread(fd, text, sizeof text - 1, 0);
  int pid = 0;
  if (n > 0 && absl::SimpleAtoi(text, &pid)) return absl::StrCat("process ", pid);
  return "another process";
}

}  // namespace

absl::StatusOr<ProcessLock> ProcessLock::Take(const std::string& store_path) {
  const std::string path = store_path + ".lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return absl::InternalError(
        absl::StrCat("cannot open ", path, ": ", std::generic_category().message(errno)));
  }
  ProcessLock lock(fd);
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) {
      return base::WithReason(absl::FailedPreconditionError(
                                  absl::StrCat("store ", store_path, " is in use by ", Holder(fd))),
                              "STORE_IN_USE");
    }
    return absl::InternalError(
        absl::StrCat("cannot lock ", path, ": ", std::generic_category().message(errno)));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  // Only a help for people: a lock without a name in it holds as well.
  if (ftruncate(fd, 0) == 0) {
    [[maybe_unused]] const ssize_t n = pwrite(fd, pid.data(), pid.size(), 0);
  }
  return lock;
}

ProcessLock::~ProcessLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace keyturn::store

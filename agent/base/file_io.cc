// SPDX-License-Identifier: Apache-2.0
#include "agent/base/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace keyturn::base {
namespace {

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status Failure(int error, absl::string_view operation, const std::string& path) {
  const std::string message =
      absl::StrCat("cannot ", operation, " ", path, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status SyncDirectoryOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string directory = parent.empty() ? "." : parent;
  const File dir(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0 || fsync(dir.get()) != 0) return Failure(errno, "sync", directory);
  return absl::OkStatus();
}

absl::Status WriteAll(int fd, absl::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure(errno, "write", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status Replace(const std::string& path, absl::string_view content, mode_t mode, bool synced) {
  const std::string temporary = absl::StrCat(path, ".new");
  unlink(temporary.c_str());
  {
    const File file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.get() < 0) return Failure(errno, "create", temporary);
    if (absl::Status s = WriteAll(file.get(), content, temporary); !s.ok()) return s;
    if (synced && fsync(file.get()) != 0) return Failure(errno, "sync", temporary);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return Failure(errno, "rename to", path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return Failure(errno, "open", path);
  std::string content;
  char buffer[16384];
  for (;;) {
    const ssize_t n = read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure(errno, "read", path);
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is larger than the ", max_bytes, " bytes allowed"));
    }
  }
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, mode_t mode) {
  return Replace(path, content, mode, /*synced=*/false);
}

absl::Status WriteFileDurably(const std::string& path, absl::string_view content, mode_t mode) {
  if (absl::Status s = Replace(path, content, mode, /*synced=*/true); !s.ok()) return s;
  return SyncDirectoryOf(path);
}

absl::Status MoveFile(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return Failure(errno, "rename to", to);
  if (absl::Status s = SyncDirectoryOf(from); !s.ok()) return s;
  return SyncDirectoryOf(to);
}

absl::Status MakeDirectory(const std::string& path, mode_t mode) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return absl::OkStatus();
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) {
    std::filesystem::create_directories(parent, error);
    if (error) return Failure(error.value(), "create directory", parent.string());
  }
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return Failure(errno, "create directory", path);
  }
  return absl::OkStatus();
}

absl::Status CheckPrivate(const std::string& path, mode_t forbidden_mode) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return Failure(errno, "examine", path);
  if (info.st_uid != geteuid() && info.st_uid != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s belongs to uid %d, not to the agent's user (uid %d); run: chown %d %s",
                        path, info.st_uid, geteuid(), geteuid(), path));
  }
  if ((info.st_mode & forbidden_mode) != 0) {
    const mode_t mended = info.st_mode & 07777 & ~forbidden_mode;
    return absl::FailedPreconditionError(
        absl::StrFormat("%s has mode %04o and is open to others; run: chmod %04o %s", path,
                        info.st_mode & 07777, mended, path));
  }
  return absl::OkStatus();
}

}  // namespace keyturn::base

// SPDX-License-Identifier: Apache-2.0
#include "agent/base/program_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "agent/base/sha256.h"

namespace keyturn::base {
namespace {

constexpr size_t kImageBytesMax = size_t{512} << 20;

absl::Status Failed(absl::string_view operation, const std::string& path) {
  const int error = errno;
  return absl::ErrnoToStatus(error, absl::StrCat(operation, " ", path));
}

int NewMemory() {
#ifdef MFD_EXEC
  // Said where the kernel knows it, since it may be told to refuse what does not say so.
  const int fd = memfd_create("keyturn-program", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd >= 0 || errno != EINVAL) return fd;
#endif
  return memfd_create("keyturn-program", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

ProgramImage::~ProgramImage() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<ProgramImage> ProgramImage::Load(const std::string& path, absl::string_view sha256) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return Failed("open", path);
  const absl::Cleanup close_file = [file] { close(file); };
  struct stat info {};
  if (fstat(file, &info) != 0) return Failed("stat", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is not a regular file"));
  }
  ProgramImage image(NewMemory());
  if (image.fd_ < 0) return Failed("memfd_create for", path);
  Sha256 digest;
  std::vector<char> buffer(size_t{256} << 10);
  size_t total = 0;
  for (;;) {
    const ssize_t got = read(file, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("read", path);
    if (got == 0) break;
    const auto size = static_cast<size_t>(got);
    if (total == 0) image.script_ = size > 2 && buffer[0] == '#' && buffer[1] == '!';
    total += size;
    if (total > kImageBytesMax) {
      return absl::ResourceExhaustedError(absl::StrCat(path, " is too large for a program"));
    }
    digest.Update(absl::string_view(buffer.data(), size));
    if (!WriteAll(image.fd_, buffer.data(), size)) return Failed("copy", path);
  }
  if (fcntl(image.fd_, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
      0) {
    return Failed("seal the copy of", path);
  }
  if (const std::string found = digest.HexDigest(); found != sha256) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has sha256 ", found, ", and the configuration pins ", sha256));
  }
  return image;
}

}  // namespace keyturn::base

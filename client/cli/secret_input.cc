// SPDX-License-Identifier: Apache-2.0
// Reading of secrets. The buffer is reserved once in full, so that growing leaves no copy behind.
#include "client/cli/secret_input.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace keyturn::cli {
namespace {

absl::Status ReadError() {
  return absl::UnknownError(
      absl::StrCat("cannot read the value: ", std::generic_category().message(errno)));
}

// While one lives, Ctrl-C interrupts a read instead of ending the process.
class InterruptibleRead {
 public:
  InterruptibleRead() {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptibleRead() { sigaction(SIGINT, &before_, nullptr); }
  InterruptibleRead(const InterruptibleRead&) = delete;
  InterruptibleRead& operator=(const InterruptibleRead&) = delete;

 private:
  struct sigaction before_ = {};
};

}  // namespace

absl::StatusOr<SecretString> ReadAll(int fd, size_t limit) {
  std::string buffer(limit + 1, '\0');
  const auto wipe = absl::MakeCleanup([&buffer] { WipeString(buffer); });
  size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t count = read(fd, buffer.data() + size, buffer.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ReadError();
    if (count == 0) return SecretString(absl::string_view(buffer).substr(0, size));
    size += static_cast<size_t>(count);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the input is longer than the ", limit, " bytes allowed"));
}

absl::StatusOr<SecretString> ReadValue(int fd) {
  // Room for the line break that is taken off.
  absl::StatusOr<SecretString> all = ReadAll(fd, kFieldBytesMax + 2);
  if (!all.ok()) return all;
  absl::string_view value = all->Reveal();
  if (!value.empty() && value.back() == '\n') {
    value.remove_suffix(1);
    if (!value.empty() && value.back() == '\r') value.remove_suffix(1);
  }
  if (value.size() > kFieldBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the value is longer than the ", kFieldBytesMax, " bytes allowed"));
  }
  return SecretString(value);
}

absl::StatusOr<SecretString> AskHidden(absl::string_view prompt) {
  const int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return absl::UnknownError("there is no terminal to ask on");
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  termios before = {};
  if (tcgetattr(fd, &before) != 0) return absl::UnknownError("the terminal cannot hide its echo");
  const InterruptibleRead interruptible;
  termios hidden = before;
  hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  hidden.c_lflag |= ICANON | ECHONL;
  if (tcsetattr(fd, TCSAFLUSH, &hidden) != 0) {
    return absl::UnknownError("the terminal cannot hide its echo");
  }
  const auto restore = absl::MakeCleanup([fd, &before] { tcsetattr(fd, TCSAFLUSH, &before); });
  if (write(fd, prompt.data(), prompt.size()) < 0) return ReadError();
  // A terminal hands over one line at a time, of at most 4095 bytes.
  std::string line(4096, '\0');
  const auto wipe = absl::MakeCleanup([&line] { WipeString(line); });
  const ssize_t count = read(fd, line.data(), line.size());
  if (count < 0 && errno == EINTR) return absl::CancelledError("interrupted");
  if (count < 0) return ReadError();
  absl::string_view typed = absl::string_view(line).substr(0, static_cast<size_t>(count));
  if (!typed.empty() && typed.back() == '\n') typed.remove_suffix(1);
  return SecretString(typed);
}

}  // namespace keyturn::cli

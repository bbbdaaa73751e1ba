// SPDX-License-Identifier: Apache-2.0
#include "agent/base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "agent/base/check.h"

namespace keyturn::base {
namespace {

// Where the child finds what it is started with; above them nothing stays open.
constexpr int kImageFd = 3;
constexpr int kReportFd = 4;
// Copies made before the fork lie above those, so that none is overwritten on its way.
constexpr int kLowestCopy = 10;

// What a child that could not be started says before it ends.
struct Report {
  int error;
  char step[24];
};

// All that the child needs, made before the fork: after it, nothing may allocate or lock.
struct Launchpad {
  int image_fd;
  int output_fd;
  int report_fd;
  int null_fd;
  bool script;
  pid_t parent;
  const char* directory;
  const ChildProcess::User* user;
  char* const* argv;
  char* const* environment;
};

[[noreturn]] void GiveUp(const char* step) {
  Report report{errno, {}};
  for (size_t i = 0; i + 1 < sizeof(report.step) && step[i] != '\0'; ++i) report.step[i] = step[i];
  const ssize_t written = write(kReportFd, &report, sizeof(report));
  _exit(written == sizeof(report) ? 126 : 127);
}

void DefaultSignals() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);  // NOLINT(concurrency-mt-unsafe): one thread
}

// The child's side of the fork: only calls that are safe there.
[[noreturn]] void BecomeProgram(const Launchpad& pad) {
  if (dup2(pad.report_fd, kReportFd) < 0 || fcntl(kReportFd, F_SETFD, FD_CLOEXEC) != 0) _exit(127);
  DefaultSignals();
  if (dup2(pad.null_fd, 0) < 0 || dup2(pad.output_fd, 1) < 0 || dup2(pad.output_fd, 2) < 0 ||
      dup2(pad.image_fd, kImageFd) < 0) {
    GiveUp("dup2");
  }
  // An interpreter opens the script by its descriptor, which must therefore survive.
  if (!pad.script && fcntl(kImageFd, F_SETFD, FD_CLOEXEC) != 0) GiveUp("fcntl");
  if (syscall(SYS_close_range, kReportFd + 1, ~0U, 0) != 0) GiveUp("close_range");
  if (setsid() < 0) GiveUp("setsid");
  // Before the change of user, who may have no way there but through directories of ours.
  if (chdir(pad.directory) != 0) GiveUp("chdir");
  if (pad.user != nullptr) {
    // Raw calls: the library's would signal threads that this process does not have.
    const long gid = pad.user->gid;
    const long uid = pad.user->uid;
    if (syscall(SYS_setgroups, 0, nullptr) != 0) GiveUp("setgroups");
    if (syscall(SYS_setresgid, gid, gid, gid) != 0) GiveUp("setresgid");
    if (syscall(SYS_setresuid, uid, uid, uid) != 0) GiveUp("setresuid");
  }
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // After the change of user, which would undo it.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) GiveUp("prctl");
  if (getppid() != pad.parent) _exit(127);
  syscall(SYS_execveat, kImageFd, "", pad.argv, pad.environment, AT_EMPTY_PATH);
  GiveUp("execveat");
}

int Copy(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, kLowestCopy); }

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string HowItEnded(const siginfo_t& info) {
  return absl::StrCat(info.si_code == CLD_EXITED ? "exit_" : "signal_", info.si_status);
}

}  // namespace

ChildProcess::ChildProcess(Options options, OnLine on_line, OnExit on_exit)
    : options_(std::move(options)), on_line_(std::move(on_line)), on_exit_(std::move(on_exit)) {}

ChildProcess::~ChildProcess() {
  Signal(SIGKILL);
  if (thread_.joinable()) thread_.join();
  if (pid_fd_ >= 0) close(pid_fd_);
  if (output_fd_ >= 0) close(output_fd_);
}

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(const ProgramImage& image,
                                                                  Options options, OnLine on_line,
                                                                  OnExit on_exit) {
  std::unique_ptr<ChildProcess> child(
      new ChildProcess(std::move(options), std::move(on_line), std::move(on_exit)));
  absl::Status launched;
  absl::Notification done;
  // The kernel ties a child to the thread that made it, so that is the one that waits for it.
  child->thread_ = std::thread([self = child.get(), &image, &launched, &done] {
    launched = self->Launch(image.fd(), image.script());
    const bool runs = launched.ok();
    done.Notify();
    if (runs) self->Watch();
  });
  pthread_setname_np(child->thread_.native_handle(),
                     child->options_.thread_name.substr(0, 15).c_str());
  done.WaitForNotification();
  if (!launched.ok()) return launched;
  return child;
}

absl::Status ChildProcess::Launch(int image_fd, bool script) {
  std::array<int, 2> output{-1, -1};
  std::array<int, 2> report{-1, -1};
  std::vector<int> ours;
  const absl::Cleanup close_ours = [&ours] {
    for (const int fd : ours) close(fd);
  };
  if (pipe2(output.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  output_fd_ = output[0];
  fcntl(output_fd_, F_SETFL, O_NONBLOCK);
  ours.push_back(output[1]);
  if (pipe2(report.data(), O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  ours.push_back(report[0]);
  absl::Cleanup close_report = [&report] { close(report[1]); };
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ours.push_back(null_fd);
  const std::vector<char*> argv = Pointers(options_.argv);
  const std::vector<char*> environment = Pointers(options_.environment);
  const std::array<int, 4> copies{Copy(image_fd), Copy(output[1]), Copy(report[1]), Copy(null_fd)};
  for (const int fd : copies) {
    if (fd >= 0) ours.push_back(fd);
  }
  for (const int fd : copies) {
    if (fd < 0) return absl::ErrnoToStatus(errno, "dup");
  }
  const Launchpad pad{copies[0],
                      copies[1],
                      copies[2],
                      copies[3],
                      script,
                      getpid(),
                      options_.directory.c_str(),
                      options_.user ? &*options_.user : nullptr,
                      argv.data(),
                      environment.data()};
  // _Fork, since handlers that libraries registered for fork() expect a process that goes on.
  const pid_t pid = _Fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) BecomeProgram(pad);
  pid_ = pid;
  std::move(close_report).Invoke();
  close(copies[2]);
  std::erase(ours, copies[2]);
  Report said{};
  ssize_t got = 0;
  do {
    got = read(report[0], &said, sizeof(said));
  } while (got < 0 && errno == EINTR);
  if (got == 0) pid_fd_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (got == 0 && pid_fd_ >= 0) return absl::OkStatus();
  const int error = got == 0 ? errno : said.error;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  pid_ = -1;
  if (got == 0) return absl::ErrnoToStatus(error, "pidfd_open");
  said.step[sizeof(said.step) - 1] = '\0';
  return absl::ErrnoToStatus(error, absl::StrCat("cannot start the program: ", said.step));
}

void ChildProcess::Signal(int number) const {
  if (pid_fd_ >= 0) syscall(SYS_pidfd_send_signal, pid_fd_, number, nullptr, 0);
}

void ChildProcess::Watch() {
  bool readable = true;
  for (;;) {
    // Without the output, only the end is waited for: poll ignores negative descriptors.
    std::array<pollfd, 2> wait{{{readable ? output_fd_ : -1, POLLIN, 0}, {pid_fd_, POLLIN, 0}}};
    if (poll(wait.data(), wait.size(), -1) < 0) {
      KEYTURN_CHECK(errno == EINTR, "poll on a child's descriptors works");
      continue;
    }
    if (wait[0].revents != 0) readable = ReadOutput();
    if (wait[1].revents != 0) break;
  }
  siginfo_t info{};
  KEYTURN_CHECK(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) == 0,
                "a child can be waited for");
  // Not reaped yet, so its number, which is that of its group, cannot be another's.
  kill(-pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  if (readable) ReadOutput();
  EndLine();
  on_exit_(HowItEnded(info));
}

// False at the end of the output.
bool ChildProcess::ReadOutput() {
  std::array<char, 4096> buffer{};
  // Bounded, so that a child that never stops writing does not hide its own end.
  for (int i = 0; i < 16; ++i) {
    const ssize_t got = read(output_fd_, buffer.data(), buffer.size());
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    TakeOutput({buffer.data(), static_cast<size_t>(got)});
  }
  return true;
}

void ChildProcess::TakeOutput(absl::string_view bytes) {
  for (const char c : bytes) {
    if (c == '\n') {
      EndLine();
    } else if (line_.size() < options_.line_length_max) {
      line_.push_back(c);
    } else {
      cut_ = true;
    }
  }
}

void ChildProcess::EndLine() {
  if (cut_) line_ += "...";
  if (!line_.empty()) on_line_(line_);
  line_.clear();
  cut_ = false;
}

}  // namespace keyturn::base

// SPDX-License-Identifier: Apache-2.0
// ChildProcess: a program that runs as long as this object and never longer than this process. It
// begins with a clean slate: the given environment and directory, no descriptor of ours, default
// signals, a session of its own, another user where asked. What it writes to stdout and stderr
// comes line by line. Each child has one thread of ours, which starts it, reads from it and waits
// for it; the kernel kills the child when that thread is gone.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/base/program_image.h"

namespace keyturn::base {

class ChildProcess {
 public:
  struct User {
    uid_t uid = 0;
    gid_t gid = 0;
  };
  struct Options {
    std::vector<std::string> argv;
    std::vector<std::string> environment;  // NAME=value
    std::string directory;
    // Needs root, or CAP_SETUID and CAP_SETGID. Supplementary groups are dropped.
    std::optional<User> user;
    // Longer lines are cut.
    size_t line_length_max = 1000;
    std::string thread_name;  // at most 15 characters
  };
  // Both on the child's thread; OnExit last, once, with `exit_3` or `signal_9`. They must not
  // destroy the ChildProcess.
  using OnLine = absl::AnyInvocable<void(absl::string_view)>;
  using OnExit = absl::AnyInvocable<void(const std::string& how)>;

  // Blocks until the program runs. The status says which step failed; nothing is called then.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const ProgramImage& image,
                                                             Options options, OnLine on_line,
                                                             OnExit on_exit);
  // Kills it and what it started in its session's process group, and waits for its end.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Fine when it has ended already. Thread-safe.
  void Signal(int number) const;

 private:
  ChildProcess(Options options, OnLine on_line, OnExit on_exit);
  absl::Status Launch(int image_fd, bool script);
  void Watch();
  bool ReadOutput();
  void TakeOutput(absl::string_view bytes);
  void EndLine();

  const Options options_;
  OnLine on_line_;
  OnExit on_exit_;
  pid_t pid_ = -1;
  int pid_fd_ = -1;
  int output_fd_ = -1;
  std::string line_;
  bool cut_ = false;
  std::thread thread_;
};

}  // namespace keyturn::base

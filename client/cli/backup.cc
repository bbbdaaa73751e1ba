// SPDX-License-Identifier: Apache-2.0
// `keyturn backup`: the agent's whole store into one sealed file. The file appears under its name
// when it is complete and on the disk, not before.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress.h"

namespace keyturn::cli {
namespace {

// A file that is removed again unless it was kept.
class Draft {
 public:
  explicit Draft(const std::string& path)
      : path_(absl::StrCat(path, ".part")),
        fd_(open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)) {
    if (fd_ < 0) Note();
  }
  ~Draft() {
    if (fd_ >= 0) close(fd_);
    if (!is_kept_ && fd_ >= 0) unlink(path_.c_str());
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  // Empty while all went well.
  const std::string& error() const { return error_; }
  size_t size() const { return size_; }

  void Write(const std::string& bytes) {
    size_t done = 0;
    while (error_.empty() && done < bytes.size()) {
      const ssize_t written = write(fd_, bytes.data() + done, bytes.size() - done);
      if (written < 0 && errno != EINTR) Note();
      if (written > 0) done += static_cast<size_t>(written);
    }
    size_ += done;
  }
  void KeepAs(const std::string& path, bool replace) {
    if (!error_.empty()) return;
    if (fsync(fd_) != 0) return Note();
    // A link, unlike a rename, fails when the name is taken.
    const int result =
        replace ? rename(path_.c_str(), path.c_str()) : link(path_.c_str(), path.c_str());
    if (result != 0) return Note();
    is_kept_ = replace;
  }

 private:
  void Note() { error_ = std::generic_category().message(errno); }

  const std::string path_;
  const int fd_;
  std::string error_;
  size_t size_ = 0;
  bool is_kept_ = false;
};

void Run(const std::string& path, bool force, Session& session) {
  const ErrorContext context = {.what = "cannot back up"};
  if (!force && access(path.c_str(), F_OK) == 0) {
    return session.FailUsage(absl::StrCat(path, " exists already"),
                             "name another file, or replace it with --force");
  }
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  Draft draft(path);
  absl::Status status;
  if (draft.error().empty()) {
    const Progress progress("backing up");
    status = (*admin)->Backup(session.TimeoutOr(absl::Minutes(10)),
                              [&](const std::string& piece) { draft.Write(piece); });
  }
  if (!status.ok()) return session.Fail(context, status);
  draft.KeepAs(path, force);
  if (!draft.error().empty()) {
    return session.Fail(
        context, absl::InternalError(absl::StrCat("cannot write ", path, ": ", draft.error())));
  }
  if (session.json()) {
    const nlohmann::json made = {{"file", path}, {"bytes", draft.size()}};
    return session.Print(absl::StrCat(made.dump(2), "\n"));
  }
  session.Print(
      absl::StrCat(path, ": ", draft.size(), " bytes, opened by the store's KEK alone\n"));
}

}  // namespace

void AddBackupCommand(CLI::App& program, Session& session) {
  struct Options {
    std::string path;
    bool force = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("backup", "Write the whole store into a sealed file");
  command->add_option("file", options->path, "The file to write")->required()->type_name("FILE");
  command->add_flag("--force", options->force, "Replace the file if there is one");
  command->footer(
      "The agent goes on working meanwhile. The file holds everything but the KEK: keep that\n"
      "elsewhere, for nobody can read the backup without it.\n"
      "\n"
      "Examples:\n"
      "  keyturn backup /var/backups/keyturn.backup --force\n"
      "  keyturnd --verify-backup /var/backups/keyturn.backup   whether it can be used\n"
      "  keyturnd --restore /var/backups/keyturn.backup         with the agent stopped");
  command->callback([options, &session] { Run(options->path, options->force, session); });
}

}  // namespace keyturn::cli

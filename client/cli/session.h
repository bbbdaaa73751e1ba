// SPDX-License-Identifier: Apache-2.0
// Session: one run of `keyturn`. The global options, the connections they lead to, where output
// goes, and the exit code. Used by one thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/error_report.h"
#include "client/lib/admin.h"
#include "keyturn/client.h"

namespace keyturn::cli {

struct GlobalOptions {
  std::string socket;
  std::string services_socket;
  // "table", "json", or empty: a table.
  std::string output;
  absl::Duration timeout = absl::Seconds(30);
  bool timeout_given = false;
  bool no_color = false;
};

class Session {
 public:
  GlobalOptions options;

  bool json() const { return options.output == "json"; }
  // Bold headers: on a terminal that the user has not asked to stay plain.
  bool bold() const;
  // The time a command takes that may take longer than others, unless --timeout said.
  absl::Duration TimeoutOr(absl::Duration longer) const;

  absl::StatusOr<std::unique_ptr<client::AdminClient>> Admin() const;
  // A client on the socket that is fit for get, watch and whoami.
  absl::StatusOr<std::shared_ptr<Client>> Services() const;

  // Writes to stdout. When that fails (a full disk, say), so does the program.
  void Print(absl::string_view text);
  // Reports the error and remembers the exit code that belongs to it.
  void Fail(const ErrorContext& context, const absl::Status& status);
  void FailUsage(absl::string_view message, absl::string_view next);

  int exit_code() const { return exit_code_; }
  void set_exit_code(int code) { exit_code_ = code; }

 private:
  int exit_code_ = 0;
};

}  // namespace keyturn::cli

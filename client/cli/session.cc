// SPDX-License-Identifier: Apache-2.0
// The session's connections and output. stdout is written by write(2): what is printed may be a
// secret and must not stay in a stream's buffer.
#include "client/cli/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cli/socket_choice.h"

namespace keyturn::cli {
namespace {

SocketPlaces PlacesFor(const GlobalOptions& options) {
  SocketPlaces places = SocketPlaces::FromProcess();
  places.admin_option = options.socket;
  places.services_option = options.services_socket;
  return places;
}

// What a user types may be relative.
std::string Absolute(const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  char* directory = get_current_dir_name();
  std::string absolute = absl::StrCat(directory == nullptr ? "" : directory, "/", path);
  free(directory);
  return absolute;
}

}  // namespace

bool Session::bold() const {
  // Nothing in this program changes the environment.
  const char* no_color = getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
  const char* terminal = getenv("TERM");      // NOLINT(concurrency-mt-unsafe)
  return !options.no_color && (no_color == nullptr || *no_color == '\0') &&
         (terminal == nullptr || strcmp(terminal, "dumb") != 0) && isatty(STDOUT_FILENO) == 1;
}

absl::Duration Session::TimeoutOr(absl::Duration longer) const {
  return options.timeout_given ? options.timeout : longer;
}

absl::StatusOr<std::unique_ptr<client::AdminClient>> Session::Admin() const {
  return client::AdminClient::Make(Absolute(ChooseAdminSocket(PlacesFor(options))));
}

absl::StatusOr<std::shared_ptr<Client>> Session::Services() const {
  return Client::Connect({.socket_path = Absolute(ChooseServicesSocket(PlacesFor(options))),
                          .connect_timeout = absl::ZeroDuration()});
}

void Session::Print(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      fprintf(stderr, "keyturn: cannot write the output: %s\n",
              std::generic_category().message(errno).c_str());
      exit_code_ = kExitError;
      return;
    }
    text.remove_prefix(static_cast<size_t>(count));
  }
}

void Session::Fail(const ErrorContext& context, const absl::Status& status) {
  fputs(ErrorText(context, status).c_str(), stderr);
  exit_code_ = ExitCodeFor(status);
}

void Session::FailUsage(absl::string_view message, absl::string_view next) {
  fputs(absl::StrCat("keyturn: ", message, "\nnext: ", next, "\n").c_str(), stderr);
  exit_code_ = kExitUsage;
}

}  // namespace keyturn::cli

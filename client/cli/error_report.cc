// SPDX-License-Identifier: Apache-2.0
// The next step for every kind of error.
#include "client/cli/error_report.h"

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/duration_text.h"
#include "client/cli/table.h"
#include "keyturn/errors.h"

namespace keyturn::cli {
namespace {

std::string NextAfterUnreachable(const absl::Status& status) {
  if (absl::IsPermissionDenied(status)) {
    return "run it as the agent's administrator (sudo), or name a socket that is open to you with "
           "--socket or --services-socket";
  }
  if (absl::StrContains(status.message(), "busy")) return "try again in a moment";
  if (absl::StrContains(status.message(), "ends the connections")) {
    return "the agent refuses to serve you, and its log says why: journalctl -u keyturnd";
  }
  return "look at `systemctl status keyturnd`, start an agent with `keyturnd --dev`, or name its "
         "socket with --socket PATH";
}

std::string NextAfterPrecondition(const ErrorContext& context, const std::string& reason) {
  const std::string name = context.name.empty() ? "NAME" : context.name;
  if (absl::StrContains(reason, "CONSENT")) {
    return absl::StrCat("have a person give consent: keyturn login ", name,
                        "; or store a refresh token that was got elsewhere: keyturn put ", name,
                        " < FILE");
  }
  if (absl::StrContains(reason, "VALUE")) {
    return absl::StrCat("store its first value: keyturn put ", name, " < FILE");
  }
  return absl::StrCat("keyturn show ", name, " tells what it waits for");
}

std::string NextStep(const ErrorContext& context, const absl::Status& status) {
  if (IsUnreachable(status)) return NextAfterUnreachable(status);
  if (const std::string reason = ReasonOf(status);
      absl::StartsWith(reason, "LOGIN_") || reason == "NO_SUCH_LOGIN") {
    return absl::StrCat(reason == "LOGIN_REFUSED" ? "correct that, then begin the login again: "
                                                  : "begin the login again: ",
                        "keyturn login ", context.name.empty() ? "NAME" : context.name);
  }
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return "keyturn list shows the names there are";
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return "keyturn whoami shows who you are to the agent and what policies let you do";
    case absl::StatusCode::kFailedPrecondition:
      return NextAfterPrecondition(context, ReasonOf(status));
    case absl::StatusCode::kDeadlineExceeded:
      return "keyturn status shows what is slow or failing; --timeout gives it longer";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      if (const auto delay = RetryDelayOf(status); delay.has_value()) {
        return absl::StrCat("try again in ", ReadableDuration(*delay),
                            "; keyturn status shows the open failures");
      }
      return "keyturn status shows the open failures";
    case absl::StatusCode::kInvalidArgument:
      return context.message_has_place ? "correct the file; keyturn plan -f FILE checks it without "
                                         "changing anything"
                                       : "correct the input; --help shows what is expected";
    case absl::StatusCode::kOutOfRange:
      return "ask for a shorter --min-remaining";
    case absl::StatusCode::kUnimplemented:
      return "through a services socket there are only get, watch and whoami: name the admin "
             "socket "
             "with --socket; else the agent is older than this program: see keyturn version";
    default:
      return "the agent's log says more: journalctl -u keyturnd";
  }
}

}  // namespace

std::string ErrorText(const ErrorContext& context, const absl::Status& status) {
  std::string message = Printable(status.message(), /*keep_line_breaks=*/true);
  if (message.empty()) message = absl::StatusCodeToString(status.code());
  std::string text;
  if (context.message_has_place) {
    absl::StrAppend(&text, message, "\n");
  } else {
    absl::StrAppend(&text, "keyturn: ", context.what, ": ", message);
    if (const std::string reason = Printable(ReasonOf(status)); !reason.empty()) {
      absl::StrAppend(&text, " (", reason, ")");
    }
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "next: ", NextStep(context, status), "\n");
  return text;
}

}  // namespace keyturn::cli

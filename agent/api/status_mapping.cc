// SPDX-License-Identifier: Apache-2.0
#include "agent/api/status_mapping.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace keyturn::api {
namespace {

// Message and details travel in trailers, of which clients take 8 KiB by default; the message is in
// there twice, once percent-encoded.
constexpr size_t kMessageMax = 1200;

std::string Shortened(absl::string_view message) {
  if (message.size() <= kMessageMax) return std::string(message);
  size_t end = kMessageMax;
  // Not within a UTF-8 sequence.
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(message.substr(0, end), "...");
}

void SetDuration(absl::Duration duration, google::protobuf::Duration& out) {
  absl::Duration rest;
  out.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

std::string Details(const absl::Status& status, const std::string& message) {
  const std::string reason = base::ReasonOf(status);
  const auto retry = base::RetryOf(status);
  if (reason.empty() && !retry.has_value()) return "";
  google::rpc::Status details;
  details.set_code(static_cast<int32_t>(status.code()));
  details.set_message(message);
  if (!reason.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(reason);
    info.set_domain("keyturn");
    for (const auto& [key, value] : base::MetadataOf(status)) {
      (*info.mutable_metadata())[key] = Shortened(value);
    }
    details.add_details()->PackFrom(info);
  }
  if (retry.has_value()) {
    google::rpc::RetryInfo info;
    SetDuration(*retry, *info.mutable_retry_delay());
    details.add_details()->PackFrom(info);
  }
  return details.SerializeAsString();
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status();
  const std::string message = Shortened(status.message());
  // The codes of both are those of google.rpc.Code.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      Details(status, message));
}

void ToFailure(const absl::Status& status, v1::Failure& failure) {
  failure.set_code(static_cast<int32_t>(status.code()));
  failure.set_reason(base::ReasonOf(status));
  failure.set_message(Shortened(status.message()));
  if (const auto retry = base::RetryOf(status); retry.has_value()) {
    SetDuration(*retry, *failure.mutable_retry_delay());
  }
}

absl::Status Denied(absl::string_view principal, authz::Action action, absl::string_view name) {
  const char* verb = action == authz::Action::kRead ? "read" : "administer";
  return base::WithReason(absl::PermissionDeniedError(
                              absl::StrCat("no policy lets ", principal, " ", verb, " \"", name,
                                           "\"; an administrator can add one, see keyturn apply")),
                          "POLICY_DENIED",
                          {{"principal", std::string(principal)},
                           {"action", authz::ActionName(action)},
                           {"credential", std::string(name)}});
}

absl::Status Stopping() {
  return base::WithRetry(absl::UnavailableError("the agent is stopping"), absl::Seconds(1));
}

}  // namespace keyturn::api

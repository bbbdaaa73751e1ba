// SPDX-License-Identifier: Apache-2.0
// Errors with details: a serialized google.rpc.Status rides along as a payload of absl::Status.
// What a foreign server put there is only ever parsed, never trusted to be well-formed.
#include "keyturn/errors.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "client/lib/status_details.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace keyturn {
namespace {

constexpr char kDetailsUrl[] = "type.googleapis.com/google.rpc.Status";
constexpr char kUnreachableUrl[] = "keyturn/unreachable";

// The first detail of that type, if the status has one that can be read.
template <typename Detail>
std::optional<Detail> DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kDetailsUrl);
  google::rpc::Status details;
  if (!payload.has_value() || !details.ParseFromString(std::string(*payload))) return std::nullopt;
  for (const google::protobuf::Any& any : details.details()) {
    Detail detail;
    if (any.Is<Detail>() && any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

}  // namespace

std::string ReasonOf(const absl::Status& status) {
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  return info.has_value() ? info->reason() : std::string();
}

std::map<std::string, std::string> FactsOf(const absl::Status& status) {
  std::map<std::string, std::string> facts;
  if (const auto info = DetailOf<google::rpc::ErrorInfo>(status); info.has_value()) {
    facts.insert(info->metadata().begin(), info->metadata().end());
  }
  return facts;
}

std::optional<absl::Duration> RetryDelayOf(const absl::Status& status) {
  const auto info = DetailOf<google::rpc::RetryInfo>(status);
  if (!info.has_value() || !info->has_retry_delay()) return std::nullopt;
  return absl::Seconds(info->retry_delay().seconds()) +
         absl::Nanoseconds(info->retry_delay().nanos());
}

bool IsUnreachable(const absl::Status& status) {
  return status.GetPayload(kUnreachableUrl).has_value();
}

namespace client {

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  if (!status.error_details().empty()) {
    result.SetPayload(kDetailsUrl, absl::Cord(status.error_details()));
  }
  return result;
}

absl::Status FromFailure(int code, const std::string& reason, const std::string& message,
                         absl::Duration retry_delay) {
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("keyturn");
  details.add_details()->PackFrom(info);
  if (retry_delay > absl::ZeroDuration()) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(retry_delay));
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(
        absl::ToInt64Nanoseconds(retry_delay - absl::Seconds(absl::ToInt64Seconds(retry_delay)))));
    details.add_details()->PackFrom(retry);
  }
  // A failure that calls itself OK is still none of a value.
  const bool known = code > 0 && code <= 16;
  absl::Status result(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                      message);
  result.SetPayload(kDetailsUrl, absl::Cord(details.SerializeAsString()));
  return result;
}

absl::Status Unreachable(absl::string_view message, bool denied) {
  absl::Status result =
      denied ? absl::PermissionDeniedError(message) : absl::UnavailableError(message);
  result.SetPayload(kUnreachableUrl, absl::Cord("1"));
  return result;
}

bool FromAgent(const absl::Status& status) { return status.GetPayload(kDetailsUrl).has_value(); }

}  // namespace client
}  // namespace keyturn

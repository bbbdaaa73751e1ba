// SPDX-License-Identifier: Apache-2.0
#include "agent/observe/failures.h"

#include "absl/strings/str_cat.h"

namespace keyturn::observe {

const char* FailureCodeName(FailureCode code) {
  switch (code) {
    case FailureCode::kRotationFailed:
      return "ROTATION_FAILED";
    case FailureCode::kRotationAmbiguous:
      return "ROTATION_AMBIGUOUS";
    case FailureCode::kRotationBlockedLimit:
      return "ROTATION_BLOCKED_LIMIT";
    case FailureCode::kRotationOverdue:
      return "ROTATION_OVERDUE";
    case FailureCode::kVerifyFailed:
      return "VERIFY_FAILED";
    case FailureCode::kRevokeFailed:
      return "REVOKE_FAILED";
    case FailureCode::kRefreshFailed:
      return "REFRESH_FAILED";
    case FailureCode::kRefreshInDoubt:
      return "REFRESH_IN_DOUBT";
    case FailureCode::kNeedsConsent:
      return "NEEDS_CONSENT";
    case FailureCode::kManualRotationDue:
      return "MANUAL_ROTATION_DUE";
    case FailureCode::kExpiresSoon:
      return "EXPIRES_SOON";
    case FailureCode::kUnknownKey:
      return "UNKNOWN_KEY";
    case FailureCode::kStoreFull:
      return "STORE_FULL";
    case FailureCode::kProviderDown:
      return "PROVIDER_DOWN";
    case FailureCode::kRollbackDetected:
      return "ROLLBACK_DETECTED";
    case FailureCode::kClockJump:
      return "CLOCK_JUMP";
  }
  return "ROTATION_FAILED";
}

std::string SubjectOf(const Failure& failure) {
  if (!failure.credential.empty()) return failure.credential;
  return failure.provider.empty() ? "agent:" : absl::StrCat("provider:", failure.provider);
}

namespace {

LogFields FieldsOf(const Failure& failure) {
  const char* code = FailureCodeName(failure.code);
  LogFields fields = {{"code", code},
                      {"credential", failure.credential},
                      {"provider", failure.provider},
                      {"class", failure.provider_class},
                      {"attempt", failure.attempt},
                      {"cause", failure.cause}};
  if (failure.http_status != 0) fields.emplace_back("http_status", failure.http_status);
  if (failure.next_retry > absl::InfinitePast()) {
    fields.emplace_back("next_retry", failure.next_retry);
  }
  if (failure.runway < absl::InfiniteDuration()) {
    // Past the point of breaking there is no time left, not a negative amount of it.
    fields.emplace_back("runway_s", std::max<int64_t>(0, absl::ToInt64Seconds(failure.runway)));
  }
  if (!failure.detail.empty()) fields.emplace_back("detail", failure.detail);
  fields.emplace_back("dedupe_key", absl::StrCat(code, ":", SubjectOf(failure)));
  return fields;
}

}  // namespace

void Failures::Open(const Failure& failure) {
  {
    absl::MutexLock lock(&mu_);
    const auto [entry, fresh] = open_.try_emplace({SubjectOf(failure), failure.code},
                                                  OpenFailure{failure, clock_.WallNow()});
    if (!fresh) entry->second.failure = failure;
  }
  log_.Write(Level::kError, "failure", FieldsOf(failure));
}

void Failures::LogResolved(const OpenFailure& open) const {
  const char* code = FailureCodeName(open.failure.code);
  log_.Write(Level::kInfo, "RESOLVED",
             {{"code", code},
              {"credential", open.failure.credential},
              {"provider", open.failure.provider},
              {"open_s", absl::ToInt64Seconds(clock_.WallNow() - open.since)},
              {"dedupe_key", absl::StrCat(code, ":", SubjectOf(open.failure))}});
}

void Failures::Resolve(FailureCode code, const std::string& subject) {
  OpenFailure ended;
  {
    absl::MutexLock lock(&mu_);
    const auto found = open_.find({subject, code});
    if (found == open_.end()) return;
    ended = std::move(found->second);
    open_.erase(found);
  }
  LogResolved(ended);
}

void Failures::ResolveAll(const std::string& credential) {
  std::vector<OpenFailure> ended;
  {
    absl::MutexLock lock(&mu_);
    auto it = open_.lower_bound({credential, FailureCode{}});
    while (it != open_.end() && it->first.first == credential) {
      ended.push_back(std::move(it->second));
      it = open_.erase(it);
    }
  }
  for (const OpenFailure& open : ended) LogResolved(open);
}

std::vector<OpenFailure> Failures::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<OpenFailure> list;
  for (const auto& [key, open] : open_) list.push_back(open);
  return list;
}

std::optional<OpenFailure> Failures::Find(const std::string& credential) const {
  absl::MutexLock lock(&mu_);
  const auto found = open_.lower_bound({credential, FailureCode{}});
  if (found == open_.end() || found->first.first != credential) return std::nullopt;
  return found->second;
}

}  // namespace keyturn::observe

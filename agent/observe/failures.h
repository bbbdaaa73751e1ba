// SPDX-License-Identifier: Apache-2.0
// Failure events: the contract people alert on (docs/EVENTS.md). Open(...) writes one line per
// failed attempt; Resolve(...) writes one RESOLVED line when a failure that was open has ended.
// Remembers what is open, for `keyturn status`. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/observe/log.h"

namespace keyturn::observe {

enum class FailureCode {
  kRotationFailed,
  kRotationAmbiguous,
  kRotationBlockedLimit,
  kRotationOverdue,
  kVerifyFailed,
  kRevokeFailed,
  kRefreshFailed,
  kRefreshInDoubt,
  kNeedsConsent,
  kExpiresSoon,
  kManualRotationDue,
  kUnknownKey,
  kStoreFull,
  kProviderDown,
  kRollbackDetected,
  kClockJump,
};
// ROTATION_FAILED, ...
const char* FailureCodeName(FailureCode code);

struct Failure {
  FailureCode code = FailureCode::kRotationFailed;
  std::string credential = {};
  std::string provider = {};        // or the token endpoint's host
  std::string provider_class = {};  // listed, tagged, oauth, ...
  uint32_t attempt = 0;
  std::string cause = {};                        // our own fixed words, never remote text
  int http_status = 0;                           // 0: no reply
  absl::Time next_retry = absl::InfinitePast();  // InfinitePast: no retry by itself
  // Until consumers break if nothing succeeds from now on; infinite: never.
  absl::Duration runway = absl::InfiniteDuration();
  std::string detail = {};  // a sentence that says what to do, when a person must act
};

// What the failure is about: its credential, else `provider:NAME`, else the agent itself, `agent:`;
// no credential is called so.
std::string SubjectOf(const Failure& failure);

struct OpenFailure {
  Failure failure;
  absl::Time since;
};

class Failures {
 public:
  Failures(Log& log, const base::Clock& clock) : log_(log), clock_(clock) {}

  void Open(const Failure& failure);
  // `subject` as SubjectOf says. Nothing happens when no such failure is open.
  void Resolve(FailureCode code, const std::string& subject);
  // For a credential that is deleted or has fully recovered.
  void ResolveAll(const std::string& credential);
  std::vector<OpenFailure> List() const;
  std::optional<OpenFailure> Find(const std::string& credential) const;

 private:
  using Key = std::pair<std::string, FailureCode>;
  void LogResolved(const OpenFailure& open) const;

  Log& log_;
  const base::Clock& clock_;
  mutable absl::Mutex mu_;
  std::map<Key, OpenFailure> open_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::observe

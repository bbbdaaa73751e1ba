// SPDX-License-Identifier: Apache-2.0
// What services say about values: that one was refused. Believed as far as it can be looked into,
// and acted upon at most once a minute for each credential, so that a service that is wrong about
// what a 401 means costs nobody anything.
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

using observe::FailureCode;
using providers::ProviderClass;
using Response = v1::ReportRejectedResponse;

// How long a report waits for the replacement.
constexpr absl::Duration kReplaceWait = absl::Seconds(30);

Response Say(uint64_t version, const char* outcome) {
  Response response;
  response.set_current_version(version);
  response.set_outcome(outcome);
  return response;
}

absl::Status TooMany(absl::string_view what, const std::string& name, absl::Duration wait) {
  return base::WithRetry(base::WithReason(absl::ResourceExhaustedError(what), "TOO_MANY_REPORTS",
                                          {{"credential", name}}),
                         wait);
}

}  // namespace

void Keeper::ReportRejected(std::string principal, v1::ReportRejectedRequest request,
                            Answer<Response> done) {
  deps_.executor.Post(
      [this, principal = std::move(principal), request = std::move(request),
       done = std::move(done)]() mutable { ReportOne(principal, request, std::move(done)); });
}

void Keeper::ReportOne(const std::string& principal, const v1::ReportRejectedRequest& request,
                       Answer<Response> done) {
  const std::string& name = request.name();
  const uint64_t version = request.version();
  const auto state = Get(name);
  if (!state.ok()) return done(state.status());
  const store::CredentialRecord& record = (*state)->record;
  if (version == 0 || version > record.last_version) {
    return done(base::WithReason(
        absl::InvalidArgumentError(absl::StrCat("\"", name, "\" has had no version ", version)),
        "NO_SUCH_VERSION", {{"credential", name}}));
  }
  if (record.current_version > version) return done(Say(record.current_version, "newer"));
  const base::BootTime now = deps_.clock.BootNow();
  const bool token = record.spec.has_oauth();
  // Whoever reports what is being replaced already waits for that, and makes no work.
  if (token && refresher_.Busy(name)) return ReplaceToken(name, version, std::move(done));
  if (const absl::Duration wait = rejections_.Admit(principal, now); wait > absl::ZeroDuration()) {
    return done(TooMany("too many reports of rejected values", name, wait));
  }
  if (!rejections_.MayLook(name, now)) return done(Say(record.current_version, "debounced"));
  if (token) return LookIntoToken(name, version, std::move(done));
  if (KindOf(record.spec) == v1::API_KEY) return LookIntoKey(name, version, std::move(done));
  done(Say(record.current_version, "accepted"));  // a stored value: nobody can be asked
}

void Keeper::LookIntoToken(const std::string& name, uint64_t version, Answer<Response> done) {
  const v1::OAuthSpec& spec = ledger_.Find(name)->record.spec.oauth();
  if (spec.test().url().empty() && spec.introspection_url().empty()) {
    return ReplaceToken(name, version, std::move(done));
  }
  TestToken(name, [this, name, version, done = std::move(done)](
                      const absl::StatusOr<v1::TestCredentialResponse>& tried) mutable {
    // Answers come from other threads. What nobody could find out is for a refresh to settle.
    const bool accepted = tried.ok() && tried->outcome() == "accepted";
    deps_.executor.Post([this, name, version, accepted, done = std::move(done)]() mutable {
      const CredentialState* state = ledger_.Find(name);
      if (state == nullptr) return done(absl::AbortedError("the credential was deleted meanwhile"));
      const uint64_t current = state->record.current_version;
      if (current > version) return done(Say(current, "replaced"));
      if (accepted) return done(Say(current, "accepted"));
      ReplaceToken(name, version, std::move(done));
    });
  });
}

void Keeper::ReplaceToken(const std::string& name, uint64_t version, Answer<Response> done) {
  const CredentialState& now = *ledger_.Find(name);
  if (!refresher_.Busy(name) && refresher_.InDoubt(name)) {
    // Another use of the refresh token could end the grant; the token in hand may well be good.
    return done(Say(now.record.current_version, "accepted"));
  }
  if (!rejections_.MayWait(name)) {
    return done(
        TooMany("too many wait for the refresh of this token already", name, absl::Seconds(1)));
  }
  // A refresh that has failed is tried again when its time has come, not when somebody reports.
  refresher_.EnsureFresh(
      name, kReplaceWait,
      [this, name, version, done = std::move(done)](const absl::Status& status) mutable {
        rejections_.HasWaited(name);
        const CredentialState* state = ledger_.Find(name);
        if (state == nullptr)
          return done(absl::AbortedError("the credential was deleted meanwhile"));
        const uint64_t current = state->record.current_version;
        if (current > version) return done(Say(current, "replaced"));
        done(status.ok() ? absl::StatusOr<Response>(Say(current, "accepted"))
                         : absl::StatusOr<Response>(status));
      });
}

void Keeper::LookIntoKey(const std::string& name, uint64_t version, Answer<Response> done) {
  const CredentialState& state = *ledger_.Find(name);
  const store::VersionRecord* current = state.Current();
  const auto provider = ProviderOf(name);
  if (current == nullptr || !provider.ok() || !(*provider)->traits().can_verify || state.rotation) {
    // Nobody can be asked, or the key is being replaced anyway.
    return done(Say(state.record.current_version, "accepted"));
  }
  (*provider)->Verify(current->value, [this, name, version, done = std::move(done)](
                                          const providers::CallResult& result) mutable {
    deps_.executor.Post([this, name, version, outcome = result.outcome, cause = result.cause,
                         http_status = result.http_status, done = std::move(done)]() mutable {
      const CredentialState* now = ledger_.Find(name);
      if (now == nullptr) return done(absl::AbortedError("the credential was deleted meanwhile"));
      const uint64_t number = now->record.current_version;
      if (number > version) return done(Say(number, "newer"));
      if (outcome == providers::Outcome::kOk && !now->rotation) {
        deps_.failures.Resolve(FailureCode::kVerifyFailed, name);
      }
      const bool dead = outcome == providers::Outcome::kRejected;
      done(Say(number, dead ? OnDeadKey(name, cause, http_status) : "accepted"));
    });
  });
}

const char* Keeper::OnDeadKey(const std::string& name, const std::string& cause, int http_status) {
  const CredentialState& state = *ledger_.Find(name);
  const v1::CredentialSpec& spec = state.record.spec;
  const auto provider = ProviderOf(name);
  // It was there when the key was tried, and has become unusable since: nobody can be asked.
  if (!provider.ok()) return "accepted";
  const ProviderClass c = (*provider)->traits().provider_class;
  // A key that makes its own successor cannot once it is dead.
  const bool able = CheckRotatable(name).ok() && !state.rotation && c != ProviderClass::kSelfRoll;
  const bool now = able && IsInWindow(spec.rotate(), deps_.clock.WallNow());
  const std::string detail =
      now ? "the service does not accept it any more; it is being rotated"
          : absl::StrCat("the service does not accept it any more; ",
                         able ? "the next window is waited for, unless: keyturn rotate "
                              : "store a new one: keyturn put ",
                         name);
  deps_.failures.Open({.code = FailureCode::kVerifyFailed,
                       .credential = name,
                       .provider = spec.provider(),
                       .provider_class = providers::ProviderClassName(c),
                       .cause = cause,
                       .http_status = http_status,
                       .next_retry = now ? deps_.clock.WallNow() : absl::InfinitePast(),
                       .runway = absl::ZeroDuration(),
                       .detail = detail});
  if (!now) return "rejected";
  engine_.Start(name, /*sweep_only=*/false);
  return "rotating";
}

}  // namespace keyturn::lifecycle

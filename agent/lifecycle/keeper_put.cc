// SPDX-License-Identifier: Apache-2.0
// Values that people bring: a stored one, the first refresh token of an OAuth credential, a key
// that exists already, and the next key of a manual provider, which is verified before it is handed
// out.
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/class_rules.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/oauth/oauth_checks.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

constexpr size_t kValueMax = 64 * 1024;

absl::Status Refuse(absl::string_view why) {
  return base::WithReason(absl::FailedPreconditionError(why), "NOT_POSSIBLE_NOW");
}

// Lists that show secrets give the id away, and a key that replaces itself is never asked for by
// it; elsewhere the key could never be told from others'.
bool NeedsKeyId(providers::ProviderClass c) {
  return c != providers::ProviderClass::kListed && c != providers::ProviderClass::kDualSlot &&
         c != providers::ProviderClass::kSelfRoll;
}

absl::StatusOr<absl::Time> ExpiryOf(const v1::PutRequest& request, const v1::CredentialSpec& spec,
                                    absl::Time now) {
  absl::Time expires_at = store::kNever;
  if (request.has_expires_at()) {
    expires_at = absl::FromUnixSeconds(request.expires_at().seconds());
  } else if (spec.static_().has_expires_in()) {
    expires_at = now + ToDuration(spec.static_().expires_in());
  }
  if (expires_at != store::kNever && expires_at <= now) {
    return absl::InvalidArgumentError("the value has expired already");
  }
  return expires_at;
}

}  // namespace

void Keeper::Put(v1::PutRequest request, Answer<v1::PutResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    auto value = ReadValue(request);
    for (v1::Field& field : *request.mutable_fields()) base::Wipe(*field.mutable_value());
    if (!value.ok()) {
      done(value.status());
    } else if (IsManual(request.name())) {
      Bring(request, *std::move(value), std::move(done));
    } else {
      done(PutNow(request, *std::move(value)));
    }
  });
}

absl::StatusOr<base::CredentialValue> Keeper::ReadValue(const v1::PutRequest& request) const {
  const auto state = Get(request.name());
  if (!state.ok()) return state.status();
  const bool token = (*state)->record.spec.has_oauth();
  base::CredentialValue value;
  for (const v1::Field& field : request.fields()) {
    const std::string name =
        !field.name().empty() ? field.name() : (token ? "refresh_token" : "value");
    if (field.value().empty() || field.value().size() > kValueMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("field \"", name, "\" must hold 1 to ", kValueMax, " bytes"));
    }
    if (value.Find(name) != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("field \"", name, "\" is given twice"));
    }
    value.fields.push_back({name, base::Secret(field.value()), true});
  }
  if (value.empty()) return absl::InvalidArgumentError("there is no value to store");
  // One field is the secret; of several, the one called so, else the last: an id comes first.
  value.primary = value.Find("value") != nullptr ? "value" : value.fields.back().name;
  return value;
}

absl::StatusOr<v1::PutResponse> Keeper::PutNow(const v1::PutRequest& request,
                                               base::CredentialValue value) {
  const auto state = Get(request.name());
  if (!state.ok()) return state.status();
  const bool token = (*state)->record.spec.has_oauth();
  v1::PutResponse response;
  if (token) {
    absl::Status status = PutRefreshToken(**state, value);
    if (!status.ok()) return status;
    return response;
  }
  const auto number = PutVersion(**state, std::move(value), request);
  if (!number.ok()) return number.status();
  response.set_version(*number);
  return response;
}

// A key that replaced itself and was lost waits for a person, and no attempt follows that would say
// so again: the report may have gone with the process that found it out.
void Keeper::ReportLostKey(const std::string& name) {
  const CredentialState& state = *ledger_.Find(name);
  const auto provider = ProviderOf(name);
  if (!provider.ok() || !WaitsForPerson(state) || state.record.last_version == 0 ||
      state.rotation ||
      (*provider)->traits().provider_class != providers::ProviderClass::kSelfRoll) {
    return;
  }
  deps_.failures.Open(
      {.code = observe::FailureCode::kRotationFailed,
       .credential = name,
       .provider = state.record.spec.provider(),
       .provider_class = providers::ProviderClassName(providers::ProviderClass::kSelfRoll),
       .attempt = state.record.consecutive_failures,
       .cause = "key_lost",
       .runway = absl::ZeroDuration(),
       .detail = rotation::LostKeyDetail(name)});
}

// The next key of a manual provider: checked, tried at the provider, then promoted like any other.
void Keeper::Bring(const v1::PutRequest& request, base::CredentialValue value,
                   Answer<v1::PutResponse> done) {
  const std::string& name = request.name();
  const CredentialState& state = *ledger_.Find(name);
  const auto provider = ProviderOf(name);
  if (!provider.ok()) return done(provider.status());
  if (absl::Status odd = CheckBroughtValue(value, (*provider)->traits()); !odd.ok()) {
    return done(base::WithReason(odd, "BAD_VALUE", {{"credential", name}}));
  }
  if (const store::VersionRecord* current = state.Current();
      current != nullptr && *current->value.Primary() == *value.Primary()) {
    return done(absl::AlreadyExistsError(
        absl::StrCat("this is the current value of \"", name, "\" already")));
  }
  const auto expires_at = ExpiryOf(request, state.record.spec, deps_.clock.WallNow());
  if (!expires_at.ok()) return done(expires_at.status());
  store::VersionRecord version;
  version.value = std::move(value);
  version.provider_key_id = request.provider_key_id();
  version.expires_at = *expires_at;
  const bool verifies = (*provider)->traits().can_verify;
  auto answer = std::make_shared<Answer<v1::PutResponse>>(std::move(done));
  const absl::Status begun = engine_.StartManual(
      name, std::move(version),
      {/*until_done=*/false, [](const v1::RotateResponse&) {},
       [this, name, verifies, answer](absl::Status status) {
         const CredentialState* held = ledger_.Find(name);
         if (held == nullptr) {
           (*answer)(absl::AbortedError("the credential was deleted"));
         } else if (status.ok()) {
           v1::PutResponse response;
           response.set_version(held->record.current_version);
           response.set_verified(verifies);
           (*answer)(std::move(response));
         } else {
           (*answer)(base::WithReason(
               absl::InvalidArgumentError(
                   "the provider rejects this value; it was not stored, and nothing was changed"),
               "VERIFY_FAILED", {{"credential", name}}));
         }
       }});
  if (!begun.ok()) (*answer)(begun);
}

absl::Status Keeper::PutRefreshToken(const CredentialState& state,
                                     const base::CredentialValue& value) {
  const std::string name = state.record.name;
  if (!oauth::UsesRefreshToken(state.record.spec)) {
    return Refuse(absl::StrCat("\"", name,
                               "\" gets its tokens without a refresh token; there is nothing to "
                               "put"));
  }
  if (value.fields.size() != 1 || value.primary != "refresh_token") {
    return absl::InvalidArgumentError("an OAuth credential takes one field, refresh_token");
  }
  store::RefreshRecord refresh;
  refresh.credential = name;
  refresh.refresh_token = *value.Primary();
  refresh.refresh_token_since = refresh.consented_at = deps_.clock.WallNow();
  if (state.refresh) refresh.dpop_key = state.refresh->dpop_key;
  store::Transaction transaction;
  transaction.Put(std::move(refresh));
  if (absl::Status status = ledger_.Commit(transaction); !status.ok()) return status;
  refresher_.DropConsent(name);
  deps_.failures.ResolveAll(name);
  refresher_.Adopt(name, /*fetch_now=*/true);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Keeper::PutVersion(const CredentialState& state,
                                            base::CredentialValue value,
                                            const v1::PutRequest& request) {
  const std::string name = state.record.name;
  const absl::Time now = deps_.clock.WallNow();
  const bool key = !state.record.spec.provider().empty();
  if (key && (state.record.current_version != 0 || engine_.Running(name))) {
    return Refuse(absl::StrCat("Keyturn makes the keys of \"", name,
                               "\" itself; to replace the current one, run: keyturn rotate ",
                               name));
  }
  if (key && request.provider_key_id().empty()) {
    const auto provider = ProviderOf(name);
    if (!provider.ok()) return provider.status();
    if (NeedsKeyId((*provider)->traits().provider_class)) {
      return absl::InvalidArgumentError(
          "the provider's id of the key is needed, or nobody could revoke it later: --key-id ID");
    }
  }
  store::CredentialRecord record = state.record;
  store::Transaction transaction;
  store::VersionRecord version;
  version.credential = name;
  version.number = ++record.last_version;
  version.state = store::VersionState::kCurrent;
  version.value = std::move(value);
  version.provider_key_id = request.provider_key_id();
  version.created_at = version.promoted_at = now;
  const auto expires_at = ExpiryOf(request, state.record.spec, now);
  if (!expires_at.ok()) return expires_at.status();
  version.expires_at = *expires_at;
  if (const store::VersionRecord* old = state.Current()) {
    store::VersionRecord ended = *old;
    ended.state = store::VersionState::kRevoked;
    ended.value = {};
    ended.ended_at = now;
    transaction.Put(std::move(ended));
  }
  record.current_version = version.number;
  record.last_rotated = now;
  if (key) {
    record.next_due = NextRotation(record.spec.rotate(), name, now, version.expires_at);
    record.ClearFailure();
  }
  transaction.Put(record);
  transaction.Put(version);
  ledger_.AddHistory(transaction, {.credential = name,
                                   .at = now,
                                   .what = "put",
                                   .outcome = "succeeded",
                                   .version = version.number,
                                   .detail = ""});
  if (absl::Status status = ledger_.Commit(transaction); !status.ok()) return status;
  if (key) deps_.failures.ResolveAll(name);
  Adopt(name, /*fetch_now=*/false);
  // Whoever waited for this value, or failed with the one before, tries at once.
  for (const auto& [other, held] : ledger_.credentials()) {
    const v1::CredentialSpec& spec = held.record.spec;
    const auto provider = ledger_.providers().find(spec.provider());
    if (oauth::RefersTo(spec.oauth(), name)) {
      if (held.Current() == nullptr && !refresher_.Busy(other)) Adopt(other, /*fetch_now=*/true);
      refresher_.TryAgain(other);
    } else if (provider != ledger_.providers().end() && provider->second.spec.manager() == name) {
      Adopt(other, /*fetch_now=*/false);
      if (held.Current() == nullptr && !WaitsForPerson(held)) {
        engine_.Start(other, /*sweep_only=*/false);
      }
    }
  }
  return version.number;
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
// Ending tokens where they were made (RFC 7009): when a person asks for it, and as well as can be
// when a credential is deleted. First the refresh token, because as long as that lives another
// access token can be got: when it could not be ended, neither is forgotten, so that it can be
// tried again. An access token that outlives it is forgotten, and ends by itself soon. Nothing is
// forgotten that was not sent to the server: a person may bring another refresh token meanwhile.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/oauth/token_request.h"

namespace keyturn::lifecycle {
namespace {

// How long a refresh that is under way is waited for.
constexpr absl::Duration kRefreshWait = absl::Seconds(40);

constexpr char kRevoked[] = "revoked";
constexpr char kUnsupported[] = "unsupported";
constexpr char kNone[] = "none";
constexpr char kFailed[] = "failed";

const char* WordFor(const absl::Status& status) {
  if (status.ok()) return kRevoked;
  return absl::IsUnimplemented(status) ? kUnsupported : kFailed;
}

absl::Status NotNow(const std::string& name, absl::string_view why) {
  return base::WithReason(absl::FailedPreconditionError(absl::StrCat("\"", name, "\": ", why)),
                          "NOT_POSSIBLE_NOW", {{"credential", name}});
}

absl::Time ConsentedAt(const CredentialState& state) {
  return state.refresh ? state.refresh->consented_at : store::kNever;
}

bool HasFailed(const v1::RevokeResponse& ended) {
  // Without a refresh token nothing but the access token remains to be ended.
  return ended.refresh_token() == kFailed ||
         (ended.refresh_token() == kNone && ended.access_token() == kFailed);
}

// The tokens that came to this end, as `VERB refresh token and its access token`; empty: none did.
std::string Those(const v1::RevokeResponse& ended, absl::string_view end, absl::string_view verb) {
  std::string those;
  for (const auto& [what, word] : {std::pair("refresh token", &ended.refresh_token()),
                                   std::pair("access token", &ended.access_token())}) {
    if (*word == end) absl::StrAppend(&those, those.empty() ? verb : " and its ", what);
  }
  return those;
}

std::string NoteFor(const v1::RevokeResponse& ended) {
  std::vector<std::string> left;
  for (const std::string& part :
       {Those(ended, kFailed, "the server did not end its "),
        Those(ended, kUnsupported, "the server has no way to end its ")}) {
    if (!part.empty()) left.push_back(part);
  }
  if (!left.empty()) return absl::StrCat(absl::StrJoin(left, "; "), "; end the grant there");
  const bool any = ended.refresh_token() == kRevoked || ended.access_token() == kRevoked;
  return any ? "its tokens were ended at the server" : "";
}

}  // namespace

void Keeper::Revoke(v1::RevokeRequest request, Answer<v1::RevokeResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    RevokeOne(request.name(), std::move(done));
  });
}

absl::Status Keeper::CheckNotHeld(const std::string& name) const {
  if (refresher_.HoldOf(name) == 0) return absl::OkStatus();
  return NotNow(name, "it is being revoked; try again when its server has answered");
}

void Keeper::RevokeOne(const std::string& name, Answer<v1::RevokeResponse> done) {
  const auto state = Get(name);
  if (!state.ok()) return done(state.status());
  if (!(*state)->record.spec.has_oauth()) {
    return done(base::WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "\"", name,
            "\" is not an OAuth token; keys end when they are replaced: keyturn rotate ", name)),
        "NOT_POSSIBLE_NOW"));
  }
  if (absl::Status held = CheckNotHeld(name); !held.ok()) return done(held);
  if (const std::string missing = MissingSecret((*state)->record.spec, ledger_); !missing.empty()) {
    return done(base::WithReason(absl::FailedPreconditionError(absl::StrCat(
                                     "\"", name, "\" waits for a secret: keyturn put ", missing)),
                                 "NO_VALUE_YET", {{"credential", name}, {"missing", missing}}));
  }
  if (refresher_.Busy(name)) {
    // What it brings has to be ended as well, but not what a person gives meanwhile.
    const absl::Time consented = ConsentedAt(**state);
    return AfterRefresh(name, [this, name, consented, done = std::move(done)]() mutable {
      const CredentialState* now = ledger_.Find(name);
      if (now != nullptr && ConsentedAt(*now) != consented) {
        return done(NotNow(name, "new consent was given meanwhile; nothing was ended"));
      }
      if (refresher_.Busy(name)) {
        return done(NotNow(name, "a refresh is under way and does not end; try again"));
      }
      RevokeOne(name, std::move(done));
    });
  }
  logins_.Drop(name);
  const uint64_t hold = refresher_.Hold(name);
  EndTokens(name,
            [this, name, hold, done = std::move(done)](absl::StatusOr<EndedTokens> ended) mutable {
              if (refresher_.HoldOf(name) != hold) {
                return done(absl::AbortedError("the credential was deleted meanwhile"));
              }
              if (absl::Status status = SettleTokens(name, ended); !status.ok())
                return done(status);
              done(std::move(ended->outcome));
            });
}

void Keeper::AfterRefresh(const std::string& name, absl::AnyInvocable<void()> then) {
  struct Wait {
    absl::AnyInvocable<void()> then;
    base::Executor::TimerId timer = 0;
  };
  auto wait = std::make_shared<Wait>(Wait{std::move(then)});
  const auto end = [wait] {
    // Whichever comes first.
    if (auto first = std::exchange(wait->then, nullptr)) first();
  };
  wait->timer = deps_.executor.After(kRefreshWait, end);
  refresher_.RefreshNow(name, oauth::Refresher::Asked::kByAdministrator,
                        [this, wait, end](const absl::Status&) {
                          // Not from within its landing.
                          deps_.executor.Post([this, wait, end] {
                            deps_.executor.Cancel(wait->timer);
                            end();
                          });
                        });
}

void Keeper::EndTokens(const std::string& name, Answer<EndedTokens> done) {
  const CredentialState& state = *ledger_.Find(name);
  auto server = oauth::ServerConfigFor(ledger_, state);
  if (!server.ok()) return done(base::WithReason(server.status(), "NO_VALUE_YET"));
  struct Tokens {
    providers::ServerConfig server;
    base::Secret access;
    EndedTokens ended;
    Answer<EndedTokens> done;
  };
  auto tokens = std::make_shared<Tokens>();
  tokens->server = *std::move(server);
  tokens->done = std::move(done);
  if (state.refresh) tokens->ended.refresh_token = state.refresh->refresh_token;
  tokens->ended.version = state.record.current_version;
  const store::VersionRecord* current = state.Current();
  const oauth::Windows* windows = refresher_.WindowsOf(name);
  // Its lifetime is no date: it has not ended because the date was set.
  if (current != nullptr && (windows == nullptr || deps_.clock.BootNow() < windows->expires)) {
    tokens->access = *current->value.Primary();
  }
  // Answers come from other threads.
  const auto end = [this, tokens](base::Secret token, const char* hint,
                                  absl::AnyInvocable<void(const char*)> then) {
    if (token.empty()) return then(kNone);
    deps_.authorization_server.Revoke(
        tokens->server, std::move(token), hint,
        [this, tokens, then = std::move(then)](const absl::Status& status) mutable {
          deps_.executor.Post([tokens, then = std::move(then), status]() mutable {
            const char* word = WordFor(status);
            if (word == kFailed) tokens->ended.outcome.set_detail(std::string(status.message()));
            then(word);
          });
        });
  };
  const auto end_access = [tokens, end] {
    end(tokens->access, "access_token", [tokens](const char* word) {
      tokens->ended.outcome.set_access_token(word);
      tokens->done(std::move(tokens->ended));
    });
  };
  end(tokens->ended.refresh_token, "refresh_token", [tokens, end_access](const char* word) {
    tokens->ended.outcome.set_refresh_token(word);
    if (word != kFailed) return end_access();
    tokens->ended.outcome.set_access_token(tokens->access.empty() ? kNone : kFailed);
    tokens->done(std::move(tokens->ended));
  });
}

bool Keeper::PutSince(const std::string& name, const absl::StatusOr<EndedTokens>& ended) const {
  const CredentialState& state = *ledger_.Find(name);
  return ended.ok() && state.refresh && !state.refresh->refresh_token.empty() &&
         !(state.refresh->refresh_token == ended->refresh_token);
}

absl::Status Keeper::SettleTokens(const std::string& name,
                                  const absl::StatusOr<EndedTokens>& ended) {
  absl::Status status = ended.status();
  if (status.ok()) status = ForgetTokens(name, *ended);
  refresher_.Release(name, status.ok() && !HasFailed(ended->outcome));
  return status;
}

absl::Status Keeper::ForgetTokens(const std::string& name, const EndedTokens& ended) {
  const CredentialState& state = *ledger_.Find(name);
  const bool failed = HasFailed(ended.outcome);
  store::Transaction transaction;
  if (!failed) {
    store::CredentialRecord record = state.record;
    if (record.current_version != 0 && record.current_version == ended.version) {
      transaction.Delete(store::VersionKey(name, record.current_version));
      record.current_version = 0;
    }
    transaction.Put(std::move(record));
    if (state.refresh && state.refresh->refresh_token == ended.refresh_token) {
      store::RefreshRecord refresh = *state.refresh;
      refresh.refresh_token = base::Secret();
      refresh.EndFlight();
      refresh.needs_consent = true;
      transaction.Put(std::move(refresh));
    }
  }
  ledger_.AddHistory(transaction,
                     {.credential = name,
                      .at = deps_.clock.WallNow(),
                      .what = "revoke",
                      .outcome = failed ? "failed" : "succeeded",
                      .version = ended.version,
                      .detail = absl::StrCat("refresh token: ", ended.outcome.refresh_token(),
                                             ", access token: ", ended.outcome.access_token())});
  return ledger_.Commit(transaction);
}

void Keeper::DeleteToken(const std::string& name, Answer<v1::DeleteResponse> done, bool waited) {
  if (absl::Status status = CheckDeletable(name); !status.ok()) return done(status);
  if (absl::Status held = CheckNotHeld(name); !held.ok()) return done(held);
  const CredentialState& state = *ledger_.Find(name);
  const v1::OAuthSpec& spec = state.record.spec.oauth();
  const bool holds_any =
      state.Current() != nullptr || (state.refresh && !state.refresh->refresh_token.empty());
  // Where only the issuer is stated, its metadata says whether and where that can be done.
  const bool revocable = !spec.revocation_url().empty() || !spec.issuer().empty();
  if (revocable && holds_any && refresher_.Busy(name) && !waited) {
    // What it brings, nobody would hold.
    return AfterRefresh(name, [this, name, done = std::move(done)]() mutable {
      DeleteToken(name, std::move(done), /*waited=*/true);
    });
  }
  if (!holds_any || !revocable || refresher_.Busy(name)) {
    v1::DeleteResponse response;
    if (holds_any && revocable) {
      response.set_note(
          "a refresh was under way that did not end: its tokens were not ended at the server");
    }
    if (absl::Status status = DeleteCredential(name); !status.ok()) return done(status);
    return done(std::move(response));
  }
  logins_.Drop(name);
  const uint64_t hold = refresher_.Hold(name);
  EndTokens(name, [this, name, hold,
                   done = std::move(done)](const absl::StatusOr<EndedTokens>& ended) mutable {
    if (refresher_.HoldOf(name) != hold) {
      return done(absl::AbortedError("the credential was deleted meanwhile"));
    }
    v1::DeleteResponse response;
    response.set_note(ended.ok() ? NoteFor(ended->outcome)
                                 : absl::StrCat("its tokens could not be ended at the server: ",
                                                ended.status().message()));
    if (PutSince(name, ended)) {
      response.set_note("a refresh token that was put meanwhile was not ended at the server");
    }
    if (absl::Status status = DeleteCredential(name); !status.ok()) {
      // It stays, but what the server has ended is of no use any more.
      (void)SettleTokens(name, ended);
      return done(status);
    }
    done(std::move(response));
  });
}

}  // namespace keyturn::lifecycle

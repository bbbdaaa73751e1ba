// SPDX-License-Identifier: Apache-2.0
// Ending tokens where they were made (RFC 7009): when a person asks for it, and as well as can be
// when a credential is deleted. First the refresh token, because as long as that lives another
// access token can be got; what could not be ended is not forgotten, so that it can be tried again.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"
#include "agent/lifecycle/oauth/token_request.h"

namespace keyturn::lifecycle {
namespace {

constexpr char kRevoked[] = "revoked";
constexpr char kUnsupported[] = "unsupported";
constexpr char kNone[] = "none";
constexpr char kFailed[] = "failed";

const char* WordFor(const absl::Status& status) {
  if (status.ok()) return kRevoked;
  return absl::IsFailedPrecondition(status) ? kUnsupported : kFailed;
}

bool HasFailed(const v1::RevokeResponse& ended) {
  // Without a refresh token nothing but the access token remains to be ended.
  return ended.refresh_token() == kFailed ||
         (ended.refresh_token() == kNone && ended.access_token() == kFailed);
}

std::string NoteFor(const absl::StatusOr<v1::RevokeResponse>& ended) {
  if (!ended.ok()) {
    return absl::StrCat("its tokens could not be ended at the server: ", ended.status().message());
  }
  std::string left;
  for (const auto& [what, word] : {std::pair("refresh token", &ended->refresh_token()),
                                   std::pair("access token", &ended->access_token())}) {
    if (*word != kFailed && *word != kUnsupported) continue;
    absl::StrAppend(&left, left.empty() ? "the server did not end its " : " and its ", what);
  }
  if (!left.empty()) return absl::StrCat(left, "; end the grant there");
  const bool any = ended->refresh_token() == kRevoked || ended->access_token() == kRevoked;
  return any ? "its tokens were ended at the server" : "";
}

}  // namespace

void Keeper::Revoke(v1::RevokeRequest request, Answer<v1::RevokeResponse> done) {
  deps_.executor.Post([this, request = std::move(request), done = std::move(done)]() mutable {
    RevokeOne(request.name(), std::move(done));
  });
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
  if (const std::string missing = MissingSecret((*state)->record.spec, ledger_); !missing.empty()) {
    return done(base::WithReason(absl::FailedPreconditionError(absl::StrCat(
                                     "\"", name, "\" waits for a secret: keyturn put ", missing)),
                                 "NO_VALUE_YET", {{"credential", name}, {"missing", missing}}));
  }
  if (refresher_.Busy(name)) {
    // What it brings has to be ended as well.
    return refresher_.RefreshNow(
        name, oauth::Refresher::Asked::kByAdministrator,
        [this, name, done = std::move(done)](absl::Status) mutable {
          deps_.executor.Post(
              [this, name, done = std::move(done)]() mutable { RevokeOne(name, std::move(done)); });
        });
  }
  logins_.Drop(name);
  refresher_.Hold(name);
  EndTokens(name,
            [this, name, done = std::move(done)](absl::StatusOr<v1::RevokeResponse> ended) mutable {
              if (ledger_.Find(name) == nullptr) {
                return done(absl::AbortedError("the credential was deleted meanwhile"));
              }
              absl::Status status = ended.status();
              if (status.ok()) status = ForgetTokens(name, *ended);
              refresher_.Release(name, status.ok() && !HasFailed(*ended));
              if (!status.ok()) return done(status);
              done(*std::move(ended));
            });
}

void Keeper::EndTokens(const std::string& name, Answer<v1::RevokeResponse> done) {
  const CredentialState& state = *ledger_.Find(name);
  auto server = oauth::ServerConfigFor(ledger_, state);
  if (!server.ok()) return done(base::WithReason(server.status(), "NO_VALUE_YET"));
  struct Tokens {
    providers::ServerConfig server;
    base::Secret access;
    v1::RevokeResponse ended;
    Answer<v1::RevokeResponse> done;
  };
  auto tokens = std::make_shared<Tokens>();
  tokens->server = *std::move(server);
  tokens->done = std::move(done);
  const store::VersionRecord* current = state.Current();
  if (current != nullptr && current->expires_at > deps_.clock.WallNow()) {
    tokens->access = *current->value.Primary();
  }
  // Answers come from other threads.
  const auto end = [this, tokens](base::Secret token, const char* hint,
                                  absl::AnyInvocable<void(const char*)> then) {
    if (token.empty()) return then(kNone);
    deps_.authorization_server.Revoke(
        tokens->server, std::move(token), hint,
        [this, then = std::move(then)](const absl::Status& status) mutable {
          deps_.executor.Post(
              [then = std::move(then), word = WordFor(status)]() mutable { then(word); });
        });
  };
  const auto end_access = [tokens, end] {
    end(tokens->access, "access_token", [tokens](const char* word) {
      tokens->ended.set_access_token(word);
      tokens->done(tokens->ended);
    });
  };
  end(state.refresh ? state.refresh->refresh_token : base::Secret(), "refresh_token",
      [tokens, end_access](const char* word) {
        tokens->ended.set_refresh_token(word);
        if (word != kFailed) return end_access();
        tokens->ended.set_access_token(tokens->access.empty() ? kNone : kFailed);
        tokens->done(tokens->ended);
      });
}

absl::Status Keeper::ForgetTokens(const std::string& name, const v1::RevokeResponse& ended) {
  const CredentialState& state = *ledger_.Find(name);
  const bool failed = HasFailed(ended);
  store::Transaction transaction;
  if (!failed) {
    store::CredentialRecord record = state.record;
    if (record.current_version != 0) {
      transaction.Delete(store::VersionKey(name, record.current_version));
      record.current_version = 0;
    }
    transaction.Put(std::move(record));
    if (state.refresh) {
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
                      .version = state.record.current_version,
                      .detail = absl::StrCat("refresh token: ", ended.refresh_token(),
                                             ", access token: ", ended.access_token())});
  return ledger_.Commit(transaction);
}

void Keeper::DeleteToken(const std::string& name, Answer<v1::DeleteResponse> done) {
  if (absl::Status status = CheckDeletable(name); !status.ok()) return done(status);
  const auto finish = [this, name](Answer<v1::DeleteResponse> answer, std::string note) {
    if (absl::Status status = DeleteCredential(name); !status.ok()) {
      refresher_.Release(name, /*ended=*/false);
      return answer(status);
    }
    v1::DeleteResponse response;
    response.set_note(std::move(note));
    answer(std::move(response));
  };
  const CredentialState& state = *ledger_.Find(name);
  if (state.record.spec.oauth().revocation_url().empty() || refresher_.Busy(name)) {
    // What an exchange brings that is under way, nobody will hold.
    const bool left = state.Current() != nullptr || state.refresh;
    return finish(std::move(done),
                  left && refresher_.Busy(name)
                      ? "a refresh was under way: its tokens were not ended at the server"
                      : "");
  }
  refresher_.Hold(name);
  EndTokens(name, [finish, done = std::move(done)](
                      const absl::StatusOr<v1::RevokeResponse>& ended) mutable {
    finish(std::move(done), NoteFor(ended));
  });
}

}  // namespace keyturn::lifecycle

// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/oauth_errors.h"

#include <nlohmann/json.hpp>
#include <string>

#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

struct Meaning {
  const char* word;
  TokenOutcome outcome;
};

// RFC 6749 section 5.2, RFC 8628 section 3.5, RFC 8707 section 2, RFC 9449 sections 5 and 8, OpenID
// Connect Core section 3.1.2.6, and what authorization endpoints say (RFC 6749 section 4.1.2.1),
// since some token endpoints say it too.
constexpr Meaning kStandard[] = {
    {"invalid_grant", TokenOutcome::kInvalidGrant},
    // The person has to come back.
    {"interaction_required", TokenOutcome::kInvalidGrant},
    {"login_required", TokenOutcome::kInvalidGrant},
    {"consent_required", TokenOutcome::kInvalidGrant},
    {"invalid_client", TokenOutcome::kClientRefused},
    {"unauthorized_client", TokenOutcome::kClientRefused},
    {"invalid_scope", TokenOutcome::kClientRefused},
    {"unsupported_grant_type", TokenOutcome::kClientRefused},
    {"invalid_request", TokenOutcome::kClientRefused},
    {"invalid_target", TokenOutcome::kClientRefused},
    {"invalid_dpop_proof", TokenOutcome::kClientRefused},
    {"use_dpop_nonce", TokenOutcome::kTransient},
    {"temporarily_unavailable", TokenOutcome::kTransient},
    {"rate_limit_exceeded", TokenOutcome::kTransient},
    {"slow_down", TokenOutcome::kTransient},
    {"authorization_pending", TokenOutcome::kPending},
    // It failed, and not necessarily before it did something.
    {"server_error", TokenOutcome::kUnknown},
    {"access_denied", TokenOutcome::kDenied},
    {"expired_token", TokenOutcome::kDenied},
};

struct Synonym {
  absl::string_view word;
  absl::string_view standard;
};

constexpr Synonym kSynonyms[] = {
    // GitHub
    {"bad_refresh_token", "invalid_grant"},
    {"bad_verification_code", "invalid_grant"},
    {"incorrect_device_code", "invalid_grant"},
    {"incorrect_client_credentials", "invalid_client"},
    {"device_flow_disabled", "unauthorized_client"},
    // Slack
    {"invalid_refresh_token", "invalid_grant"},
    {"code_already_used", "invalid_grant"},
    {"bad_client_secret", "invalid_client"},
    {"ratelimited", "rate_limit_exceeded"},
    // Slack and Zoho
    {"invalid_code", "invalid_grant"},
    // Slack and Salesforce
    {"invalid_client_id", "invalid_client"},
    // Salesforce
    {"invalid_client_credentials", "invalid_client"},
    // Google
    {"deleted_client", "invalid_client"},
    {"disabled_client", "invalid_client"},
    // Microsoft Entra
    {"authorization_declined", "access_denied"},
};

}  // namespace

OAuthError ErrorOf(absl::string_view word, bool polling) {
  for (const Synonym& synonym : kSynonyms) {
    if (word == synonym.word) word = synonym.standard;
  }
  for (const Meaning& meaning : kStandard) {
    if (word != meaning.word) continue;
    if (polling && word == "slow_down") return {TokenOutcome::kPending, meaning.word};
    return {meaning.outcome, meaning.word};
  }
  return {};
}

std::optional<OAuthError> QuirkError(const ReplyBody& body, const v1::OAuthQuirks& quirks,
                                     bool polling) {
  for (const v1::OAuthQuirks::Error& quirk : quirks.errors()) {
    const nlohmann::json* found = body.At(quirk.pointer());
    std::string text;
    if (found == nullptr || !ScalarText(*found, &text)) continue;
    const bool said = text == quirk.equals();
    base::Wipe(text);
    if (said) return ErrorOf(quirk.means(), polling);
  }
  return std::nullopt;
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as an answer of an authorization server: whatever comes out of a token reply, of
// metadata and of the other endpoints' replies keeps to the limits. The first two bytes choose the
// status, the grant and the quirks.
#include <cstddef>
#include <cstdint>
#include <string>

#include "agent/base/check.h"
#include "agent/providers/oauth/dpop_nonces.h"
#include "agent/providers/oauth/endpoint_replies.h"
#include "agent/providers/oauth/metadata.h"
#include "agent/providers/oauth/token_reply.h"

namespace {

using namespace keyturn;  // NOLINT

constexpr absl::Duration kLifetimeMax = absl::Hours(24 * 366);

void CheckText(absl::string_view text, size_t length_max) {
  KEYTURN_CHECK(text.size() <= length_max, "longer than the limit");
  for (const char c : text) KEYTURN_CHECK(c > 0x20 && c < 0x7f, "not a graphic character");
}

void CheckAhead(absl::Duration lifetime) {
  KEYTURN_CHECK(lifetime == absl::InfiniteDuration() ||
                    (lifetime >= absl::ZeroDuration() && lifetime <= kLifetimeMax),
                "a senseless lifetime");
}

// Of what cannot have ended already.
void CheckLifetime(absl::Duration lifetime) {
  CheckAhead(lifetime);
  KEYTURN_CHECK(lifetime > absl::ZeroDuration(), "ended before it began");
}

v1::OAuthQuirks QuirksOf(uint8_t choice) {
  v1::OAuthQuirks quirks;
  quirks.set_lifetime_unit(static_cast<v1::OAuthQuirks::LifetimeUnit>(choice % 8));
  if ((choice & 8) != 0) {
    quirks.set_access_token("/data/accessToken");
    quirks.set_refresh_token("/data/0");
    quirks.set_expires_in("/data/e~1x");
  }
  if ((choice & 16) != 0) {
    auto* error = quirks.add_errors();
    error->set_pointer("/ok");
    error->set_equals("false");
    error->set_means("invalid_grant");
  }
  if ((choice & 32) != 0) quirks.set_scope_separator(",");
  return quirks;
}

void TryTokenReply(const net::HttpResult& result, const providers::TokenQuestion& question) {
  using providers::TokenOutcome;
  const providers::TokenReply reply = providers::ReadTokenReply(result, question);
  CheckText(reply.cause, 32);
  CheckText(reply.token_type, 8);
  CheckAhead(reply.expires_in);
  CheckLifetime(reply.refresh_expires_in);
  KEYTURN_CHECK(reply.retry_after >= absl::ZeroDuration() && reply.retry_after <= absl::Hours(1),
                "a senseless wait");
  KEYTURN_CHECK(reply.scopes.size() <= 256, "too many scopes");
  for (const std::string& scope : reply.scopes) CheckText(scope, 512);
  if (reply.outcome == TokenOutcome::kGranted) {
    KEYTURN_CHECK(result.reply.status / 100 == 2, "granted without success");
    KEYTURN_CHECK(!reply.access_token.empty(), "granted without a token");
    CheckText(reply.access_token.Reveal(), 64 * 1024);
    CheckText(reply.refresh_token.Reveal(), 64 * 1024);
  } else {
    KEYTURN_CHECK(reply.access_token.empty() && reply.refresh_token.empty(), "tokens of a failure");
    KEYTURN_CHECK(!reply.cause.empty(), "a failure without a cause");
  }
  if (reply.outcome == TokenOutcome::kInvalidGrant && result.reply.status >= 500) {
    KEYTURN_CHECK(question.quirks.errors_size() > 0, "a grant given up for a server in trouble");
  }
}

void TryOthers(const net::HttpResult& result, const v1::OAuthQuirks& quirks, absl::Time now) {
  static const auto& egress = *new auto(net::EgressRules::Create({}, {"localhost"}).value());
  if (const auto device = providers::ReadDeviceReply(result, quirks, egress); device.ok()) {
    CheckText(device->device_code.Reveal(), 64 * 1024);
    CheckText(device->verification_uri, 2048);
    CheckLifetime(device->expires_in);
    KEYTURN_CHECK(device->interval > absl::ZeroDuration() && device->interval <= device->expires_in,
                  "a senseless interval");
  }
  if (const auto token = providers::ReadIntrospectionReply(result, quirks, now); token.ok()) {
    CheckLifetime(token->expires_in);
  }
  (void)providers::ReadRevocationReply(result, quirks);
  (void)providers::DpopNonces::AskedFor(result);
  providers::ServerMetadata metadata;
  if (providers::ReadMetadata(result.reply.body, "https://as.example.com", egress, metadata) ==
      providers::MetadataReading::kGood) {
    CheckText(metadata.endpoints.token, 2048);
    KEYTURN_CHECK(metadata.endpoints.token.find('#') == std::string::npos, "a fragment");
    KEYTURN_CHECK(metadata.endpoints.token.empty() || metadata.endpoints.token[4] == 's',
                  "no https");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  constexpr int kStatuses[] = {200, 201, 303, 302, 400, 401, 404, 429, 500, 503};
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = kStatuses[data[0] % 10];
  const absl::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  result.reply.body = base::Secret(text);
  result.reply.headers.emplace_back("retry-after", std::string(text.substr(0, 40)));
  result.reply.headers.emplace_back("date", std::string(text.substr(0, 30)));
  if ((data[1] & 64) != 0) {
    result.reply.headers.emplace_back("content-type", "application/x-www-form-urlencoded");
  }
  if ((data[1] & 128) != 0) result.reply.headers.emplace_back("dpop-nonce", "n");
  providers::TokenQuestion question;
  question.grant = static_cast<providers::Grant>(data[0] / 10 % 6);
  question.quirks = QuirksOf(data[1]);
  question.now = absl::FromUnixSeconds(1'700'000'000);
  TryTokenReply(result, question);
  TryOthers(result, question.quirks, question.now);
  return 0;
}

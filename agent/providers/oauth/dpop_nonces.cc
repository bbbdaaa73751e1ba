// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/dpop_nonces.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/net/url.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

constexpr size_t kNonceMax = 1024;

// Empty when there is none or it is not made of the characters of section 8.1.
absl::string_view NonceOf(const net::HttpResult& result) {
  if (result.delivery != net::Delivery::kAnswered) return {};
  const absl::string_view nonce = result.reply.Header("dpop-nonce");
  const bool good =
      nonce.size() <= kNonceMax && std::all_of(nonce.begin(), nonce.end(), [](char c) {
        return c > 0x20 && c < 0x7f && c != '"' && c != '\\';
      });
  return good ? nonce : absl::string_view();
}

std::string OriginOf(const std::string& url) {
  const auto parsed = net::ParseUrl(url);
  if (!parsed.ok()) return "";
  return absl::StrCat(parsed->scheme, "://", parsed->host, ":", parsed->port);
}

}  // namespace

std::string DpopNonces::For(const std::string& url) const {
  const std::string origin = OriginOf(url);
  absl::MutexLock lock(&mu_);
  const auto found = by_origin_.find(origin);
  return found == by_origin_.end() ? "" : found->second;
}

void DpopNonces::Note(const std::string& url, const net::HttpResult& result) {
  const absl::string_view nonce = NonceOf(result);
  if (nonce.empty()) return;
  const std::string origin = OriginOf(url);
  absl::MutexLock lock(&mu_);
  if (by_origin_.size() >= origins_max_ && by_origin_.find(origin) == by_origin_.end()) {
    by_origin_.erase(by_origin_.begin());
  }
  by_origin_[origin] = std::string(nonce);
}

bool DpopNonces::AskedFor(const net::HttpResult& result) {
  if (NonceOf(result).empty()) return false;
  if (result.reply.status != 400 && result.reply.status != 401) return false;
  // There may be a challenge for each scheme, each in a header of its own.
  const auto& headers = result.reply.headers;
  const bool challenged = std::any_of(headers.begin(), headers.end(), [](const auto& header) {
    return header.first == "www-authenticate" && absl::StrContains(header.second, "use_dpop_nonce");
  });
  if (challenged) return true;
  const auto body = ParseJson(result.reply.body.Reveal());
  if (body == nullptr || !body->is_object()) return false;
  const auto error = body->find("error");
  return error != body->end() && error->is_string() && *error == "use_dpop_nonce";
}

}  // namespace keyturn::providers

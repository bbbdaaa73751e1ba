// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/metadata.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/net/url.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

using nlohmann::json;

constexpr std::pair<const char*, std::string Endpoints::*> kMembers[] = {
    {"token_endpoint", &Endpoints::token},
    {"authorization_endpoint", &Endpoints::authorization},
    {"device_authorization_endpoint", &Endpoints::device},
    {"revocation_endpoint", &Endpoints::revocation},
    {"introspection_endpoint", &Endpoints::introspection},
};

constexpr size_t kUrlMax = 2048;

bool MayBeCalled(const net::Url& url, bool http_too, const net::EgressRules& egress) {
  return url.scheme == "https" || (http_too && egress.AllowsHttp(url.host, url.port));
}

void ReadEndpoints(const json& tree, bool http_too, const net::EgressRules& egress,
                   Endpoints& endpoints) {
  for (const auto& [name, member] : kMembers) {
    const auto found = tree.find(name);
    if (found == tree.end() || !found->is_string()) continue;
    const auto& text = found->get_ref<const std::string&>();
    const auto url = net::ParseUrl(text);
    // RFC 6749 sections 3.1 and 3.2: no fragment.
    if (text.size() <= kUrlMax && url.ok() && text.find('#') == std::string::npos &&
        MayBeCalled(*url, http_too, egress)) {
      endpoints.*member = text;
    }
  }
}

}  // namespace

std::vector<std::string> MetadataLocations(const std::string& issuer,
                                           const net::EgressRules& egress) {
  const auto url = net::ParseUrl(issuer);
  if (!url.ok() || url->has_query_or_fragment || !MayBeCalled(*url, true, egress)) return {};
  const absl::string_view bare = absl::StripSuffix(issuer, "/");
  const size_t path = bare.find('/', bare.find("://") + 3);
  const absl::string_view origin = bare.substr(0, path);
  const absl::string_view rest = path == absl::string_view::npos ? "" : bare.substr(path);
  return {absl::StrCat(origin, "/.well-known/oauth-authorization-server", rest),
          absl::StrCat(bare, "/.well-known/openid-configuration")};
}

MetadataReading ReadMetadata(const base::Secret& body, const std::string& issuer,
                             const net::EgressRules& egress, ServerMetadata& metadata) {
  const std::unique_ptr<json> tree = ParseJson(body.Reveal());
  if (tree == nullptr || !tree->is_object()) return MetadataReading::kUnreadable;
  const auto named = tree->find("issuer");
  if (named == tree->end() || !named->is_string()) return MetadataReading::kUnreadable;
  if (named->get_ref<const std::string&>() != issuer) return MetadataReading::kOtherIssuer;
  const auto url = net::ParseUrl(issuer);
  const bool http_too = url.ok() && url->scheme == "http";
  ReadEndpoints(*tree, http_too, egress, metadata.endpoints);
  const auto names_itself = tree->find("authorization_response_iss_parameter_supported");
  metadata.endpoints.names_itself =
      names_itself != tree->end() && names_itself->is_boolean() && names_itself->get<bool>();
  const auto aliases = tree->find("mtls_endpoint_aliases");
  if (aliases != tree->end() && aliases->is_object()) {
    ReadEndpoints(*aliases, http_too, egress, metadata.with_certificate);
  }
  return MetadataReading::kGood;
}

void FillIn(const ServerMetadata& metadata, bool with_certificate, Endpoints& stated) {
  for (const auto& [name, member] : kMembers) {
    std::string& url = stated.*member;
    if (url.empty() && with_certificate) url = metadata.with_certificate.*member;
    if (url.empty()) url = metadata.endpoints.*member;
  }
  stated.names_itself = metadata.endpoints.names_itself;
}

}  // namespace keyturn::providers

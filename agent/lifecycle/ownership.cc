// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/ownership.h"

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace keyturn::lifecycle {
namespace {

// Scheme and host in lower case, without the scheme's own port and without slashes at the end.
std::string NormalUrl(absl::string_view url) {
  while (absl::EndsWith(url, "/")) url.remove_suffix(1);
  const size_t scheme = url.find("://");
  if (scheme == absl::string_view::npos) return std::string(url);
  const size_t path = url.find('/', scheme + 3);
  std::string normal = absl::AsciiStrToLower(url.substr(0, path));
  absl::string_view base = normal;
  if (absl::StartsWith(base, "https://")) {
    base = absl::StripSuffix(base, ":443");
  } else if (absl::StartsWith(base, "http://")) {
    base = absl::StripSuffix(base, ":80");
  }
  return absl::StrCat(base, path == absl::string_view::npos ? "" : url.substr(path));
}

}  // namespace

std::string ServiceOf(const v1::ProviderSpec& spec) {
  return absl::StrCat(spec.recipe(), "\n", spec.plugin(), "\n", NormalUrl(spec.endpoint()));
}

std::string KeySetOf(const v1::ProviderSpec& spec) {
  std::string keys = ServiceOf(spec);
  const std::map<std::string, std::string> sorted(spec.params().begin(), spec.params().end());
  for (const auto& [name, value] : sorted) {
    // One that is empty is as good as absent.
    if (value.empty()) continue;
    const bool is_url = absl::StrContains(value, "://");
    absl::StrAppend(&keys, "\n", name, "=", is_url ? NormalUrl(value) : value);
  }
  return keys;
}

std::string KeysHeldBy(const CredentialState& state) {
  if (state.rotation) return absl::StrCat("a rotation is in state ", state.rotation->state);
  if (state.record.current_version != 0 || !state.versions.empty()) {
    return "it has versions that were made there";
  }
  if (!state.tags.empty()) return "keys of earlier attempts may still turn up there";
  return "";
}

}  // namespace keyturn::lifecycle

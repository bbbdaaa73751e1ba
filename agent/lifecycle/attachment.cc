// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/attachment.h"

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace keyturn::lifecycle {

void SetAttachment(const v1::CredentialSpec& spec, PublishedVersion& out) {
  const v1::Attach& attach = spec.has_oauth() ? spec.oauth().attach() : spec.static_().attach();
  out.attach_header = attach.header();
  out.attach_format = attach.format();
  if (!spec.has_oauth()) return;
  // A bound token is worth nothing without its key, so the two are kept together.
  out.token_type = out.value.Find("dpop_key") != nullptr ? "DPoP" : "Bearer";
  if (out.attach_format.empty()) {
    out.attach_format = out.attach_header.empty() ? "{token_type} {value}" : "{value}";
  }
  if (out.attach_header.empty()) out.attach_header = "Authorization";
  absl::StrReplaceAll({{"{token_type}", out.token_type}}, &out.attach_format);
}

base::Secret HeaderValue(const std::string& format, const base::Secret& value) {
  const std::vector<absl::string_view> parts = absl::StrSplit(format, "{value}");
  std::string text = absl::StrJoin(parts, value.Reveal());
  return base::Secret::Take(text);
}

}  // namespace keyturn::lifecycle

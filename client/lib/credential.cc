// SPDX-License-Identifier: Apache-2.0
// What a Credential knows about itself: finding fields and composing its header. Pure.
#include "keyturn/credential.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace keyturn {
namespace {

// A header line ends at a line break: a value with one inside would start a header of its own.
bool FitsOneLine(absl::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return false;
  }
  return true;
}

}  // namespace

absl::string_view KindName(CredentialKind kind) {
  switch (kind) {
    case CredentialKind::kApiKey:
      return "api_key";
    case CredentialKind::kOAuthToken:
      return "oauth_token";
    case CredentialKind::kStatic:
      return "static";
    case CredentialKind::kUnspecified:
      break;
  }
  return "unknown";
}

const CredentialField* Credential::Find(absl::string_view field_name) const {
  for (const CredentialField& field : fields) {
    if (field.name == field_name) return &field;
  }
  return nullptr;
}

const SecretString& Credential::value() const {
  static const SecretString* const empty = new SecretString;
  const CredentialField* field = Find(primary);
  return field == nullptr ? *empty : field->value;
}

absl::StatusOr<SecretString> Credential::HeaderValue() const {
  if (header_name.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("credential '", name, "' does not say how it goes into a request"));
  }
  std::string text;
  // Reserved in full before the first secret goes in: growing would leave a copy behind.
  size_t size = header_format.size();
  for (const CredentialField& field : fields) size += field.value.size() * header_format.size() / 2;
  text.reserve(size);
  absl::string_view rest = header_format;
  while (!rest.empty()) {
    const size_t open = rest.find('{');
    const size_t close = open == absl::string_view::npos ? open : rest.find('}', open);
    if (close == absl::string_view::npos) break;
    absl::StrAppend(&text, rest.substr(0, open));
    const absl::string_view placeholder = rest.substr(open + 1, close - open - 1);
    const CredentialField* field = Find(placeholder == "value" ? primary : placeholder);
    if (field == nullptr) {
      WipeString(text);
      return absl::FailedPreconditionError(
          absl::StrCat("credential '", name, "' has no field '", placeholder, "' for its header"));
    }
    absl::StrAppend(&text, field->value.Reveal());
    rest.remove_prefix(close + 1);
  }
  absl::StrAppend(&text, rest);
  const bool fits = FitsOneLine(text);
  SecretString composed = SecretString::Take(text);
  if (!fits || !FitsOneLine(header_name)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the value of credential '", name, "' does not fit into one header line"));
  }
  return composed;
}

}  // namespace keyturn

// SPDX-License-Identifier: Apache-2.0
// The forms of a value. JSON is written by hand: a JSON library would leave copies of the secret in
// memory that nobody wipes.
#include "client/cli/value_output.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/duration_text.h"

namespace keyturn::cli {
namespace {

// How many bytes the UTF-8 sequence at the start of `text` has; 0 when it is none (RFC 3629).
size_t Utf8Sequence(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xED && byte(1) >= 0xA0;
  const bool too_large = lead == 0xF4 && byte(1) >= 0x90;
  return overlong || surrogate || too_large ? 0 : size;
}

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const size_t size = Utf8Sequence(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

void AppendQuoted(absl::string_view text, std::string& out) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned char>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void AppendFact(absl::string_view key, const std::string& value, bool quoted, std::string& out) {
  absl::StrAppend(&out, ",\n  \"", key, "\": ");
  if (quoted) {
    AppendQuoted(value, out);
  } else {
    absl::StrAppend(&out, value);
  }
}

void AppendTime(absl::string_view key, const std::optional<absl::Time>& time, std::string& out) {
  AppendFact(key, time.has_value() ? FormatRfc3339(*time) : "null", time.has_value(), out);
}

void AppendFields(const Credential& credential, bool text, std::string& out) {
  absl::StrAppend(&out, ",\n  \"", text ? "fields" : "fields_base64", "\": {");
  bool first = true;
  for (const CredentialField& field : credential.fields) {
    const absl::string_view value = field.value.Reveal();
    if (IsUtf8(value) != text) continue;
    absl::StrAppend(&out, first ? "" : ",", "\n    ");
    first = false;
    AppendQuoted(field.name, out);
    absl::StrAppend(&out, ": ");
    if (text) {
      AppendQuoted(value, out);
    } else {
      std::string encoded = absl::Base64Escape(value);
      AppendQuoted(encoded, out);
      WipeString(encoded);
    }
  }
  absl::StrAppend(&out, first ? "}" : "\n  }");
}

// Room for everything at once: a string that grows leaves copies of what it held.
std::string Reserved(const Credential& credential, size_t factor) {
  size_t size = 1024 + credential.name.size() * (credential.fields.size() + 2) * factor;
  for (const CredentialField& field : credential.fields) {
    size += factor * (field.name.size() + field.value.size()) + 16;
  }
  std::string text;
  text.reserve(size);
  return text;
}

std::string VariableName(absl::string_view name) {
  std::string variable;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    variable.push_back(absl::ascii_isalnum(byte) ? absl::ascii_toupper(byte) : '_');
  }
  if (!variable.empty() && absl::ascii_isdigit(static_cast<unsigned char>(variable[0]))) {
    variable.insert(variable.begin(), '_');
  }
  return variable;
}

}  // namespace

SecretString ValueAsJson(const Credential& credential) {
  std::string text = Reserved(credential, 6);
  text.append("{\n  \"name\": ");
  AppendQuoted(credential.name, text);
  AppendFact("kind", std::string(KindName(credential.kind)), true, text);
  AppendFact("version", absl::StrCat(credential.version), false, text);
  AppendFact("primary", credential.primary, true, text);
  AppendFields(credential, true, text);
  AppendFields(credential, false, text);
  AppendTime("expires_at", credential.expires_at, text);
  AppendTime("refresh_after", credential.refresh_after, text);
  AppendFact("header", credential.header_name, true, text);
  AppendFact("header_format", credential.header_format, true, text);
  AppendFact("expiring", credential.expiring ? "true" : "false", false, text);
  text.append("\n}\n");
  return SecretString::Take(text);
}

absl::StatusOr<SecretString> ValueAsEnvironment(const Credential& credential) {
  std::string text = Reserved(credential, 4);
  for (const CredentialField& field : credential.fields) {
    if (field.value.Reveal().find('\0') != absl::string_view::npos) {
      WipeString(text);
      return absl::InvalidArgumentError(
          absl::StrCat("field '", field.name, "' holds a NUL, which no variable can: use -o json"));
    }
    absl::StrAppend(&text, VariableName(credential.name));
    if (field.name != credential.primary) absl::StrAppend(&text, "_", VariableName(field.name));
    absl::StrAppend(&text, "='");
    for (const char c : field.value.Reveal()) {
      if (c == '\'') {
        text.append("'\\''");
      } else {
        text.push_back(c);
      }
    }
    text.append("'\n");
  }
  return SecretString::Take(text);
}

absl::StatusOr<SecretString> ValueAsHeader(const Credential& credential) {
  const absl::StatusOr<SecretString> value = credential.HeaderValue();
  if (!value.ok()) return value.status();
  std::string text;
  text.reserve(credential.header_name.size() + value->size() + 3);
  absl::StrAppend(&text, credential.header_name, ": ");
  absl::StrAppend(&text, value->Reveal(), "\n");
  return SecretString::Take(text);
}

}  // namespace keyturn::cli

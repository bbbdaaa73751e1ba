// SPDX-License-Identifier: Apache-2.0
#include "agent/store/row_key.h"

#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "agent/base/check.h"
#include "agent/store/store.h"

namespace keyturn::store {
namespace {

constexpr size_t kDigits = 20;

std::string NumberedKey(absl::string_view kind, absl::string_view name, uint64_t number) {
  return absl::StrFormat("%s/%s/%020d", kind, name, number);
}

bool ParseNumber(absl::string_view digits, uint64_t& number) {
  if (digits.size() != kDigits) return false;
  for (const char c : digits) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return absl::SimpleAtoi(digits, &number);
}

struct KeyVisitor {
  std::string operator()(const ProviderRecord& r) {
    return absl::StrCat(kProviderKind, "/", r.name);
  }
  std::string operator()(const PolicyRecord& r) { return absl::StrCat(kPolicyKind, "/", r.name); }
  std::string operator()(const CredentialRecord& r) {
    return absl::StrCat(kCredentialKind, "/", r.name);
  }
  std::string operator()(const VersionRecord& r) { return VersionKey(r.credential, r.number); }
  std::string operator()(const RotationRecord& r) { return RotationKey(r.credential); }
  std::string operator()(const TagRecord& r) { return TagKey(r.credential, r.tag); }
  std::string operator()(const RefreshRecord& r) { return RefreshKey(r.credential); }
  std::string operator()(const ConsumersRecord& r) { return ConsumersKey(r.credential); }
  std::string operator()(const HistoryRecord& r) { return HistoryKey(r.credential, r.sequence); }
};

}  // namespace

std::string KeyOf(const Record& record) { return std::visit(KeyVisitor(), record); }

std::string VersionKey(absl::string_view credential, uint64_t number) {
  return NumberedKey(kVersionKind, credential, number);
}

std::string RotationKey(absl::string_view credential) {
  return absl::StrCat(kRotationKind, "/", credential);
}

std::string RefreshKey(absl::string_view credential) {
  return absl::StrCat(kRefreshKind, "/", credential);
}

std::string ConsumersKey(absl::string_view credential) {
  return absl::StrCat(kConsumersKind, "/", credential);
}

std::string TagKey(absl::string_view credential, absl::string_view tag) {
  // Else the key would be read back as one of another credential.
  KEYTURN_CHECK(!tag.empty() && tag.find('/') == absl::string_view::npos, "a tag is one segment");
  return absl::StrCat(kTagKind, "/", credential, "/", tag);
}

std::string HistoryKey(absl::string_view credential, uint64_t sequence) {
  return NumberedKey(kHistoryKind, credential, sequence);
}

std::optional<RowKey> ParseRowKey(absl::string_view key) {
  const size_t first = key.find('/');
  if (first == absl::string_view::npos) return std::nullopt;
  RowKey parsed;
  parsed.kind = key.substr(0, first);
  parsed.name = key.substr(first + 1);
  if (parsed.kind == kProviderKind || parsed.kind == kPolicyKind ||
      parsed.kind == kCredentialKind || parsed.kind == kRotationKind ||
      parsed.kind == kRefreshKind || parsed.kind == kConsumersKind) {
    if (parsed.name.empty()) return std::nullopt;
    return parsed;
  }
  const size_t last = parsed.name.rfind('/');
  if (last == absl::string_view::npos || last == 0) return std::nullopt;
  const absl::string_view tail = parsed.name.substr(last + 1);
  parsed.name = parsed.name.substr(0, last);
  if (parsed.kind == kVersionKind || parsed.kind == kHistoryKind) {
    if (!ParseNumber(tail, parsed.number)) return std::nullopt;
    return parsed;
  }
  if (parsed.kind != kTagKind || tail.empty()) return std::nullopt;
  parsed.tag = tail;
  return parsed;
}

}  // namespace keyturn::store

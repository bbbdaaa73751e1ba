// SPDX-License-Identifier: Apache-2.0
// What applying resources would change, field by field, and what follows from it in time.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/oauth/token_request.h"
#include "agent/lifecycle/resources.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

using google::protobuf::util::MessageDifferencer;

// Names of the top-level fields in which two messages of one type differ.
std::vector<std::string> ChangedFields(const google::protobuf::Message& a,
                                       const google::protobuf::Message& b) {
  std::vector<std::string> changed;
  for (int i = 0; i < a.GetDescriptor()->field_count(); ++i) {
    const auto* field = a.GetDescriptor()->field(i);
    MessageDifferencer differencer;
    if (!differencer.CompareWithFields(a, b, {field}, {field})) changed.push_back(field->name());
  }
  return changed;
}

template <class Spec>
v1::ResourceChange* AddChange(v1::ApplyResponse& response, const char* type,
                              const std::string& name, const Spec* held, const Spec& wanted) {
  v1::ResourceChange* change = response.add_changes();
  change->set_type(type);
  change->set_name(name);
  change->set_verb(v1::ResourceChange::CREATE);
  if (held != nullptr) {
    for (const std::string& field : ChangedFields(*held, wanted)) change->add_fields(field);
    change->set_verb(change->fields().empty() ? v1::ResourceChange::UNCHANGED
                                              : v1::ResourceChange::UPDATE);
  }
  return change;
}

std::string NoteFor(const std::string& name, const v1::CredentialSpec& spec) {
  switch (KindOf(spec)) {
    case v1::API_KEY:
      return absl::StrCat(
          "a first key will be created once the provider's manager credential has a value; then "
          "rotates ",
          ScheduleText(spec.rotate()));
    case v1::OAUTH_TOKEN:
      if (oauth::HasLogin(spec)) return absl::StrCat("needs consent: keyturn login ", name);
      return oauth::UsesRefreshToken(spec)
                 ? absl::StrCat("needs a refresh token: keyturn put ", name)
                 : "a first token will be fetched once the secrets it needs have values";
    default:
      return absl::StrCat("needs a value: keyturn put ", name);
  }
}

// When an existing key is replaced under the schedule that is asked for.
std::string NoteFor(const CredentialState& held, const v1::CredentialSpec& wanted, absl::Time now) {
  const absl::Time last = held.record.last_rotated;
  const store::VersionRecord* current = held.Current();
  if (KindOf(wanted) != v1::API_KEY || current == nullptr || last == store::kNever ||
      MessageDifferencer::Equals(held.record.spec.rotate(), wanted.rotate())) {
    return "";
  }
  const std::string& name = held.record.name;
  const absl::Time due = NextRotation(wanted.rotate(), name, last, current->expires_at);
  if (due <= now) return "the next rotation is due at once";
  std::string note =
      absl::StrCat("the next rotation is due ",
                   absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", due, absl::UTCTimeZone()));
  if (held.record.next_due > now) {
    absl::StrAppend(
        &note, ", was ",
        absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", held.record.next_due, absl::UTCTimeZone()));
  }
  return note;
}

template <class Map>
std::vector<std::string> SortedNames(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, spec] : map) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

v1::ApplyResponse Compare(const v1::Resources& desired, const Ledger& ledger, absl::Time now) {
  v1::ApplyResponse response;
  for (const std::string& name : SortedNames(desired.providers())) {
    const auto held = ledger.providers().find(name);
    AddChange(response, "provider", name,
              held == ledger.providers().end() ? nullptr : &held->second.spec,
              desired.providers().at(name));
  }
  for (const std::string& name : SortedNames(desired.credentials())) {
    const CredentialState* held = ledger.Find(name);
    const v1::CredentialSpec& wanted = desired.credentials().at(name);
    v1::ResourceChange* change = AddChange(response, "credential", name,
                                           held == nullptr ? nullptr : &held->record.spec, wanted);
    change->set_note(held == nullptr ? NoteFor(name, wanted) : NoteFor(*held, wanted, now));
  }
  for (const std::string& name : SortedNames(desired.policies())) {
    const auto held = ledger.policies().find(name);
    AddChange(response, "policy", name,
              held == ledger.policies().end() ? nullptr : &held->second.spec,
              desired.policies().at(name));
  }
  return response;
}

}  // namespace keyturn::lifecycle

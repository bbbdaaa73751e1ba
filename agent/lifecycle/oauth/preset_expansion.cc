// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/preset_expansion.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "agent/lifecycle/oauth/oauth_checks.h"

namespace keyturn::lifecycle::oauth {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Mistake = std::optional<OAuthMistake>;
using Params = std::map<std::string, std::string>;
using TextMap = google::protobuf::Map<std::string, std::string>;

constexpr size_t kParamMax = 512;

// What can stand in a URL as it is.
Mistake CheckValue(const std::string& name, const std::string& value) {
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains("._~:/-", absl::string_view(&c, 1));
  });
  if (plain && !value.empty() && value.size() <= kParamMax && !absl::StrContains(value, "..")) {
    return std::nullopt;
  }
  return OAuthMistake{{"params", name},
                      "must be 1 to 512 letters, digits and . _ ~ : / - without two dots in a row"};
}

std::string Fill(std::string text, const Params& params) {
  for (const auto& [name, value] : params) {
    text = absl::StrReplaceAll(text, {{absl::StrCat("{", name, "}"), value}});
  }
  return text;
}

void DropEmpty(TextMap& map) {
  for (auto it = map.begin(); it != map.end();) {
    it = it->second.empty() ? map.erase(it) : std::next(it);
  }
}

void DropEmpty(google::protobuf::RepeatedPtrField<std::string>& list) {
  list.erase(
      std::remove_if(list.begin(), list.end(), [](const auto& text) { return text.empty(); }),
      list.end());
}

// `{NAME}` of optional parameters that nobody gave becomes nothing, and so does what held only it.
void FillPreset(v1::OAuthSpec& facts, const Params& params) {
  std::vector<std::string> path;
  providers::VisitTexts(facts, path, [&](const std::vector<std::string>&, std::string& text) {
    text = Fill(std::move(text), params);
  });
  DropEmpty(*facts.mutable_extra_params());
  DropEmpty(*facts.mutable_authorization_params());
  if (facts.has_quirks()) DropEmpty(*facts.mutable_quirks()->mutable_headers());
  DropEmpty(*facts.mutable_scopes());
  DropEmpty(*facts.mutable_resources());
}

// What a preset says about logins and refresh tokens means nothing to other grants.
void DropWhatDoesNotFit(v1::OAuthSpec& facts, v1::OAuthGrant grant) {
  const bool of_a_person = HasLogin(facts.grant());
  if (!HasLogin(grant)) {
    facts.clear_authorization_url();
    facts.clear_device_url();
    facts.clear_authorization_params();
    if (facts.has_quirks()) facts.mutable_quirks()->clear_no_pkce();
  }
  if (!UsesRefreshToken(grant)) {
    facts.clear_refresh_token();
    facts.clear_leeway();
    facts.clear_refresh_url();
    facts.clear_consent();
    if (of_a_person) {
      facts.clear_scopes();
      facts.clear_test();
    }
  }
}

std::set<std::string> KeysOf(const Message& message, const FieldDescriptor* map) {
  std::set<std::string> keys;
  const Reflection* reflection = message.GetReflection();
  for (int i = 0; i < reflection->FieldSize(message, map); ++i) {
    const Message& entry = reflection->GetRepeatedMessage(message, map, i);
    keys.insert(entry.GetReflection()->GetString(entry, entry.GetDescriptor()->map_key()));
  }
  return keys;
}

void MergeMissing(const Message& from, Message& to);

void MergeMap(const Message& from, Message& to, const FieldDescriptor* map) {
  const std::set<std::string> held = KeysOf(to, map);
  const Reflection* reflection = from.GetReflection();
  for (int i = 0; i < reflection->FieldSize(from, map); ++i) {
    const Message& entry = reflection->GetRepeatedMessage(from, map, i);
    const std::string key =
        entry.GetReflection()->GetString(entry, entry.GetDescriptor()->map_key());
    if (held.count(key) == 0) reflection->AddMessage(&to, map)->CopyFrom(entry);
  }
}

// Values of these are one thing, of which no half comes from elsewhere.
bool IsWhole(const FieldDescriptor* field) {
  const std::string& type = field->message_type()->full_name();
  return type == "google.protobuf.Duration" || type == "keyturn.v1.Attach";
}

void MergeMissing(const Message& from, Message& to) {
  const Reflection* reflection = from.GetReflection();
  std::unique_ptr<Message> copy(from.New());
  copy->CopyFrom(from);
  for (int i = 0; i < from.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = from.GetDescriptor()->field(i);
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (field->is_map()) {
      MergeMap(from, to, field);
    } else if (field->is_repeated()) {
      if (reflection->FieldSize(to, field) == 0) {
        reflection->SwapFields(&to, copy.get(), {field});
      }
    } else if (!reflection->HasField(from, field)) {
      continue;
    } else if (!reflection->HasField(to, field)) {
      reflection->SwapFields(&to, copy.get(), {field});
    } else if (is_message && !IsWhole(field)) {
      MergeMissing(reflection->GetMessage(from, field), *reflection->MutableMessage(&to, field));
    }
  }
}

Mistake CheckGrant(const internal::v1::Preset& preset, const v1::OAuthSpec& spec) {
  if (spec.grant() == v1::OAUTH_GRANT_UNSPECIFIED) return std::nullopt;
  std::vector<std::string> names;
  for (const int each : preset.grants()) {
    const auto grant = static_cast<v1::OAuthGrant>(each);
    // A refresh token that was got elsewhere is as good as one that a login brings.
    if (grant == spec.grant() || (HasLogin(grant) && spec.grant() == v1::REFRESH_TOKEN)) {
      return std::nullopt;
    }
    names.push_back(absl::AsciiStrToLower(v1::OAuthGrant_Name(grant)));
  }
  return OAuthMistake{
      {"grant"},
      absl::StrCat("the preset ", preset.preset(), " is good for ", absl::StrJoin(names, ", "),
                   "; for another grant, leave `preset`"
                   " out and state the URLs")};
}

Mistake TakeParams(const internal::v1::Preset& preset, Params& params) {
  for (const auto& [name, param] : preset.params()) {
    if (params.count(name) != 0) continue;
    if (param.required()) {
      return OAuthMistake{{"params"},
                          absl::StrCat("`", name, "` is needed by the preset ", preset.preset(),
                                       ": ", param.about(), ", such as ", param.example())};
    }
    params[name] = param.default_();
  }
  return std::nullopt;
}

// Fills the URLs that the resource itself states.
Mistake FillUrls(v1::OAuthSpec& spec, const Params& params, std::set<std::string>& used) {
  for (const UrlField& field : UrlsOf(spec)) {
    const auto names = providers::PlaceholdersOf(*field.url);
    if (!names.ok()) return OAuthMistake{field.path, std::string(names.status().message())};
    for (const std::string& name : *names) {
      if (params.count(name) == 0) {
        return OAuthMistake{
            field.path, absl::StrCat("there is no `params: { ", name, ": ... }` for {", name, "}")};
      }
      used.insert(name);
    }
    *field.url = Fill(std::move(*field.url), params);
  }
  return std::nullopt;
}

}  // namespace

Mistake Expand(const providers::Presets& presets, v1::OAuthSpec& spec) {
  Params params(spec.params().begin(), spec.params().end());
  for (const auto& [name, value] : params) {
    if (Mistake wrong = CheckValue(name, value)) return wrong;
  }
  internal::v1::Preset preset;
  if (!spec.preset().empty()) {
    const providers::Preset* found = presets.Find(spec.preset());
    if (found == nullptr) {
      std::vector<std::string> names;
      for (const auto& [name, unused] : presets.all()) names.push_back(name);
      return OAuthMistake{{"preset"},
                          absl::StrCat("there is no preset \"", spec.preset(), "\"; there are ",
                                       absl::StrJoin(names, ", "))};
    }
    preset = found->spec;
    if (Mistake wrong = CheckGrant(preset, spec)) return wrong;
    if (Mistake wrong = TakeParams(preset, params)) return wrong;
  }
  std::set<std::string> used;
  if (Mistake wrong = FillUrls(spec, params, used)) return wrong;
  std::vector<std::string> done;
  for (const auto& [name, value] : spec.params()) {
    if (preset.params().count(name) != 0) continue;
    if (used.count(name) == 0) {
      return OAuthMistake{{"params", name}, "is used in no URL"};
    }
    done.push_back(name);
  }
  // They have done their work; kept, they would be said to be of no use the next time.
  for (const std::string& name : done) spec.mutable_params()->erase(name);
  if (preset.preset().empty()) return std::nullopt;
  v1::OAuthSpec& facts = *preset.mutable_oauth();
  DropWhatDoesNotFit(facts,
                     spec.grant() == v1::OAUTH_GRANT_UNSPECIFIED ? facts.grant() : spec.grant());
  FillPreset(facts, params);
  MergeMissing(facts, spec);
  return std::nullopt;
}

}  // namespace keyturn::lifecycle::oauth

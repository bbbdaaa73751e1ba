// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/resources.h"

#include <google/protobuf/util/message_differencer.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/base/error.h"
#include "agent/base/ids.h"
#include "agent/base/strict_yaml.h"
#include "agent/lifecycle/class_rules.h"
#include "agent/lifecycle/oauth/oauth_checks.h"
#include "agent/lifecycle/oauth/preset_expansion.h"
#include "agent/lifecycle/ownership.h"
#include "agent/lifecycle/schedule.h"

namespace keyturn::lifecycle {
namespace {

using base::SourceMap;
using base::YamlPath;
using google::protobuf::util::MessageDifferencer;

// The first field that is there and that says something about keys of a provider alone.
std::string OnlyOfKeys(const v1::CredentialSpec& spec) {
  if (spec.exclusive()) return "exclusive";
  if (spec.allow_gap()) return "allow_gap";
  if (spec.accept_loss()) return "accept_loss";
  return spec.recovery().empty() ? "" : "recovery";
}

// One file's resources with their places.
struct File {
  v1::Resources resources;
  SourceMap places;
};

absl::Status WrongToken(const SourceMap& places, const std::string& name,
                        const oauth::OAuthMistake& mistake) {
  YamlPath path = {"credentials", name, "oauth"};
  path.insert(path.end(), mistake.path.begin(), mistake.path.end());
  return places.Error(path, mistake.message);
}

// What the presets of tokens state takes its place beside what the file states.
absl::Status ExpandPresets(const providers::Presets& presets, File& file) {
  for (auto& [name, spec] : *file.resources.mutable_credentials()) {
    if (!spec.has_oauth()) continue;
    if (const auto wrong = oauth::Expand(presets, *spec.mutable_oauth())) {
      return WrongToken(file.places, name, *wrong);
    }
  }
  return absl::OkStatus();
}

bool States(const v1::OAuthSpec& spec, const std::string& name) {
  const auto* field = spec.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr) return false;
  return field->is_repeated() ? spec.GetReflection()->FieldSize(spec, field) != 0
                              : spec.GetReflection()->HasField(spec, field);
}

class Checker {
 public:
  Checker(const v1::Resources& all, const Ledger& ledger, const ResourceChecks& checks)
      : all_(all), ledger_(ledger), checks_(checks) {}

  absl::Status Check(const File& file) {
    places_ = &file.places;
    for (const auto& [name, spec] : file.resources.providers()) {
      if (absl::Status s = Provider(name, spec); !s.ok()) return s;
      if (absl::Status s = UsersOf(name, spec); !s.ok()) return s;
    }
    // In a fixed order, so that of several mistakes the same one is said each time.
    std::map<std::string, const v1::CredentialSpec*> credentials;
    for (const auto& [name, spec] : file.resources.credentials()) credentials[name] = &spec;
    for (const auto& [name, spec] : credentials) {
      if (absl::Status s = Credential(name, *spec); !s.ok()) return s;
    }
    for (const auto& [name, spec] : file.resources.policies()) {
      if (absl::Status s = Policy(name, spec); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Wrong(const YamlPath& path, absl::string_view message) const {
    return places_->Error(path, message);
  }
  absl::Status Name(const YamlPath& path) const {
    const absl::Status status = base::CheckName("the name", path.back());
    return status.ok() ? status : Wrong(path, status.message());
  }
  const v1::CredentialSpec* FindCredential(const std::string& name) const {
    const auto wanted = all_.credentials().find(name);
    if (wanted != all_.credentials().end()) return &wanted->second;
    const CredentialState* held = ledger_.Find(name);
    return held == nullptr ? nullptr : &held->record.spec;
  }
  const v1::ProviderSpec* FindProvider(const std::string& name) const {
    const auto wanted = all_.providers().find(name);
    if (wanted != all_.providers().end()) return &wanted->second;
    const auto held = ledger_.providers().find(name);
    return held == ledger_.providers().end() ? nullptr : &held->second.spec;
  }

  absl::Status Provider(const std::string& name, const v1::ProviderSpec& spec) const {
    const YamlPath here = {"providers", name};
    if (absl::Status s = Name(here); !s.ok()) return s;
    const auto made = checks_.registry.Make(ConfigOf(name, spec));
    if (!made.ok()) {
      YamlPath path = here;
      for (const auto& [key, field] : base::MetadataOf(made.status())) {
        if (key != "field") continue;
        for (absl::string_view part : absl::StrSplit(field, absl::MaxSplits('.', 1))) {
          path.emplace_back(part);
        }
      }
      return Wrong(path, made.status().message());
    }
    if (!spec.manager().empty() && FindCredential(spec.manager()) == nullptr) {
      return Wrong(Join(here, "manager"),
                   absl::StrCat("there is no credential \"", spec.manager(),
                                "\"; declare it under credentials, such as `", spec.manager(),
                                ": { static: {} }`"));
    }
    return absl::OkStatus();
  }

  absl::Status Credential(const std::string& name, const v1::CredentialSpec& spec) const {
    const YamlPath here = {"credentials", name};
    if (absl::Status s = Name(here); !s.ok()) return s;
    const int kinds = (spec.provider().empty() ? 0 : 1) + (spec.has_oauth() ? 1 : 0) +
                      (spec.has_static_() ? 1 : 0);
    if (kinds != 1) {
      return Wrong(here, "needs exactly one of `provider`, `oauth` and `static`");
    }
    if (const CredentialState* held = ledger_.Find(name);
        held != nullptr && KindOf(held->record.spec) != KindOf(spec)) {
      return Wrong(here, absl::StrCat("is of another kind already; to replace it, first run: "
                                      "keyturn delete credential ",
                                      name));
    }
    if (const CredentialState* held = ledger_.Find(name);
        held != nullptr && held->record.spec.provider() != spec.provider()) {
      if (const std::string keys = KeysHeldBy(*held); !keys.empty()) {
        return Wrong(
            Join(here, "provider"),
            absl::StrCat("cannot change while there may be keys of the old one, which nobody would "
                         "revoke (",
                         keys,
                         "); declare a credential of another name, and delete this one when it is "
                         "unused"));
      }
    }
    if (spec.has_oauth()) return OAuth(Join(here, "oauth"), name, spec);
    if (spec.has_rotate() && spec.provider().empty()) {
      return Wrong(Join(here, "rotate"), "only a credential with a provider can be rotated");
    }
    if (!spec.provider().empty()) return Rotated(here, name, spec);
    const std::string of_keys = OnlyOfKeys(spec);
    return of_keys.empty() ? absl::OkStatus()
                           : Wrong(Join(here, of_keys), "only means something beside `provider`");
  }

  absl::Status Rotated(const YamlPath& here, const std::string& name,
                       const v1::CredentialSpec& spec) const {
    if (FindProvider(spec.provider()) == nullptr) {
      return Wrong(Join(here, "provider"),
                   absl::StrCat("there is no provider \"", spec.provider(), "\""));
    }
    ScheduleMistake mistake;
    if (!CheckSchedule(spec.rotate(), mistake).ok()) {
      YamlPath path = Join(here, "rotate");
      for (absl::string_view part : absl::StrSplit(mistake.field, '.', absl::SkipEmpty())) {
        path.emplace_back(part);
      }
      return Wrong(path, mistake.message);
    }
    if (absl::Status s = ClassRules(here, spec); !s.ok()) return s;
    return Sharing(here, name, spec);
  }

  // Nullopt when the provider itself is wrong, which is reported with it.
  std::optional<providers::Traits> TraitsOf(const std::string& name,
                                            const v1::ProviderSpec* spec) const {
    if (spec == nullptr) return std::nullopt;
    const auto made = checks_.registry.Make(ConfigOf(name, *spec));
    if (!made.ok()) return std::nullopt;
    return (*made)->traits();
  }

  std::optional<BrokenRule> BrokenRuleOf(const v1::CredentialSpec& spec) const {
    const auto traits = TraitsOf(spec.provider(), FindProvider(spec.provider()));
    if (!traits.has_value()) return std::nullopt;
    const auto recovery = TraitsOf(spec.recovery(), FindProvider(spec.recovery()));
    return CheckClass(spec, *traits, recovery.has_value() ? &*recovery : nullptr);
  }

  absl::Status ClassRules(const YamlPath& here, const v1::CredentialSpec& spec) const {
    if (!spec.recovery().empty() && FindProvider(spec.recovery()) == nullptr) {
      return Wrong(Join(here, "recovery"),
                   absl::StrCat("there is no provider \"", spec.recovery(), "\""));
    }
    const auto broken = BrokenRuleOf(spec);
    return broken.has_value() ? Wrong(Join(here, broken->field), broken->message)
                              : absl::OkStatus();
  }

  // A provider that changes, changes under the credentials that use it.
  absl::Status UsersOf(const std::string& name, const v1::ProviderSpec& spec) const {
    const auto held = ledger_.providers().find(name);
    if (held == ledger_.providers().end() || MessageDifferencer::Equals(held->second.spec, spec)) {
      return absl::OkStatus();
    }
    const YamlPath here = {"providers", name};
    const auto before = TraitsOf(name, &held->second.spec);
    const auto after = TraitsOf(name, &spec);
    const bool other_class =
        before.has_value() && after.has_value() && before->provider_class != after->provider_class;
    for (const auto& [credential, state] : ledger_.credentials()) {
      const v1::CredentialSpec& user = state.record.spec;
      if (user.provider() != name && user.recovery() != name) continue;
      if (const std::string keys = KeysHeldBy(state); other_class && !keys.empty()) {
        return Wrong(here, absl::StrCat("its class cannot change from ",
                                        ProviderClassName(before->provider_class), " to ",
                                        ProviderClassName(after->provider_class),
                                        " while credential \"", credential, "\" uses it (", keys,
                                        "); declare a provider and a credential of other names, "
                                        "and delete these when they are unused"));
      }
      if (all_.credentials().count(credential) != 0) continue;  // checked where it stands
      const auto broken = BrokenRuleOf(user);
      const std::string why = broken.has_value()
                                  ? absl::StrCat("`", broken->field, "`: ", broken->message)
                                  : Conflict(credential, user);
      if (!why.empty()) {
        return Wrong(here, absl::StrCat("does not suit credential \"", credential,
                                        "\", which uses it: ", why,
                                        "; apply the credential together with it"));
      }
    }
    return absl::OkStatus();
  }

  // The keys that the credential's providers list, by the provider's name.
  std::map<std::string, std::string> KeySets(const v1::CredentialSpec& spec) const {
    std::map<std::string, std::string> sets;
    for (const std::string& name : {spec.provider(), spec.recovery()}) {
      if (const v1::ProviderSpec* provider = FindProvider(name)) sets[KeySetOf(*provider)] = name;
    }
    return sets;
  }

  // An exclusive credential owns every key its provider lists, so it cannot share them, under
  // whatever names the providers are declared. Empty when it does not.
  std::string Conflict(const std::string& name, const v1::CredentialSpec& spec) const {
    std::map<std::string, const v1::CredentialSpec*> others;
    for (const auto& [other, state] : ledger_.credentials()) others[other] = &state.record.spec;
    for (const auto& [other, wanted] : all_.credentials()) others[other] = &wanted;
    const std::map<std::string, std::string> mine = KeySets(spec);
    for (const auto& [other, wanted] : others) {
      if (other == name || !(spec.exclusive() || wanted->exclusive())) continue;
      for (const auto& [keys, provider] : KeySets(*wanted)) {
        const auto shared = mine.find(keys);
        if (shared == mine.end()) continue;
        const std::string as =
            shared->second == provider
                ? ""
                : absl::StrCat(", where the same keys are those of \"", provider, "\"");
        return absl::StrCat("shares provider \"", shared->second, "\" with \"", other, "\"", as,
                            ", and one of them is exclusive: its rotation would delete the "
                            "other's keys");
      }
    }
    return "";
  }

  absl::Status Sharing(const YamlPath& here, const std::string& name,
                       const v1::CredentialSpec& spec) const {
    const std::string conflict = Conflict(name, spec);
    return conflict.empty() ? absl::OkStatus() : Wrong(here, conflict);
  }

  absl::Status OAuth(const YamlPath& here, const std::string& name,
                     const v1::CredentialSpec& spec) const {
    const std::string of_keys = spec.has_rotate() ? "rotate" : OnlyOfKeys(spec);
    if (!of_keys.empty()) {
      return Wrong(here, absl::StrCat("`", of_keys,
                                      "` does not go with `oauth`; tokens are refreshed before "
                                      "they expire"));
    }
    oauth::OAuthSurroundings surroundings;
    surroundings.check_url = checks_.check_url;
    surroundings.has_credential = [this](const std::string& other) {
      return FindCredential(other) != nullptr;
    };
    surroundings.find_token = [this](const std::string& other) {
      const v1::CredentialSpec* found = FindCredential(other);
      return found == nullptr || !found->has_oauth() ? nullptr : &found->oauth();
    };
    auto wrong = oauth::CheckOAuth(name, spec.oauth(), surroundings);
    if (!wrong.has_value()) return absl::OkStatus();
    wrong->message += StatedByPreset(name, spec.oauth(), wrong->path);
    return WrongToken(*places_, name, *wrong);
  }

  // Of what stands at this path and not in the file: where it comes from.
  std::string StatedByPreset(const std::string& name, const v1::OAuthSpec& spec,
                             const std::vector<std::string>& path) const {
    const providers::Preset* preset = checks_.presets.Find(spec.preset());
    if (preset == nullptr || path.empty() || !States(preset->spec.oauth(), path[0])) return "";
    YamlPath here = {"credentials", name, "oauth"};
    here.insert(here.end(), path.begin(), path.end());
    const YamlPath above(here.begin(), here.end() - 1);
    if (places_->At(here) != places_->At(above)) return "";
    return absl::StrCat(" (so says the preset, ", preset->file, ")");
  }

  absl::Status Policy(const std::string& name, const v1::PolicySpec& spec) const {
    const YamlPath here = {"policies", name};
    if (absl::Status s = Name(here); !s.ok()) return s;
    if (spec.principals().empty() || spec.allow().empty() || spec.on().empty()) {
      return Wrong(here, "needs `principals`, `allow` and `on`, none of them empty");
    }
    for (int i = 0; i < spec.principals_size(); ++i) {
      const v1::UnixMatch& match = spec.principals(i).unix();
      if (match.user().empty() && match.group().empty()) {
        return Wrong({"policies", name, "principals", absl::StrCat(i)},
                     "needs `unix: { user: NAME }` or `unix: { group: NAME }`");
      }
    }
    for (int i = 0; i < spec.on_size(); ++i) {
      std::string plain = spec.on(i);
      for (char& c : plain) {
        if (c == '*' || c == '?') c = 'x';
      }
      if (absl::Status s = base::CheckName("the pattern", plain); !s.ok()) {
        return Wrong({"policies", name, "on", absl::StrCat(i)}, s.message());
      }
    }
    const absl::Status known = checks_.check_policy(spec);
    return known.ok() ? known : Wrong(Join(here, "principals"), known.message());
  }

  static YamlPath Join(YamlPath path, std::string key) {
    path.push_back(std::move(key));
    return path;
  }

  const v1::Resources& all_;
  const Ledger& ledger_;
  const ResourceChecks& checks_;
  const SourceMap* places_ = nullptr;
};

// Adds one file's map to the whole; the same name in two files is a mistake, not an override.
template <class Map>
absl::Status MergeMap(const Map& from, Map* into, const char* section, const SourceMap& places) {
  for (const auto& [name, spec] : from) {
    if (!into->insert({name, spec}).second) {
      return places.Error({section, name}, "is declared in another file of this call as well");
    }
  }
  return absl::OkStatus();
}

absl::Status Merge(const File& file, v1::Resources& all) {
  const v1::Resources& from = file.resources;
  for (absl::Status s :
       {MergeMap(from.providers(), all.mutable_providers(), "providers", file.places),
        MergeMap(from.credentials(), all.mutable_credentials(), "credentials", file.places),
        MergeMap(from.policies(), all.mutable_policies(), "policies", file.places)}) {
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

providers::ProviderConfig ConfigOf(const std::string& name, const v1::ProviderSpec& spec) {
  providers::ProviderConfig config;
  config.name = name;
  config.recipe = spec.recipe();
  config.plugin = spec.plugin();
  config.endpoint = spec.endpoint();
  config.manager = spec.manager();
  config.params.insert(spec.params().begin(), spec.params().end());
  if (spec.timing().has_propagation()) config.propagation = ToDuration(spec.timing().propagation());
  if (spec.timing().has_settle()) config.settle = ToDuration(spec.timing().settle());
  if (spec.timing().has_cached_for()) config.cached_for = ToDuration(spec.timing().cached_for());
  return config;
}

v1::CredentialKind KindOf(const v1::CredentialSpec& spec) {
  if (spec.has_oauth()) return v1::OAUTH_TOKEN;
  return spec.provider().empty() ? v1::STATIC : v1::API_KEY;
}

std::string HostOf(absl::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme != absl::string_view::npos) url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.find('/')));
}

std::string MissingSecret(const v1::CredentialSpec& spec, const Ledger& ledger) {
  std::vector<std::string> holders;
  for (const oauth::SecretField& field : oauth::SecretsOf(spec.oauth())) {
    holders.push_back(field.ref->credential());
  }
  if (const auto provider = ledger.providers().find(spec.provider());
      provider != ledger.providers().end()) {
    holders.push_back(provider->second.spec.manager());
  }
  for (const std::string& holder : holders) {
    const CredentialState* state = ledger.Find(holder);
    // A holder that makes its own values will have one without a person's help.
    if (state != nullptr && state->Current() == nullptr &&
        KindOf(state->record.spec) == v1::STATIC) {
      return holder;
    }
  }
  return "";
}

absl::StatusOr<v1::Resources> ReadResources(const v1::ApplyRequest& request, const Ledger& ledger,
                                            const ResourceChecks& checks) {
  v1::Resources all;
  std::vector<File> files(static_cast<size_t>(request.files_size()));
  for (size_t i = 0; i < files.size(); ++i) {
    const v1::SourceFile& source = request.files(static_cast<int>(i));
    if (absl::Status s =
            base::ParseYaml(source.yaml(), source.name(), &files[i].resources, &files[i].places);
        !s.ok()) {
      return s;
    }
    if (absl::Status s = ExpandPresets(checks.presets, files[i]); !s.ok()) return s;
    if (absl::Status s = Merge(files[i], all); !s.ok()) return s;
  }
  Checker checker(all, ledger, checks);
  for (const File& file : files) {
    if (absl::Status s = checker.Check(file); !s.ok()) return s;
  }
  return all;
}

v1::Resources Export(const Ledger& ledger) {
  v1::Resources all;
  for (const auto& [name, record] : ledger.providers()) {
    (*all.mutable_providers())[name] = record.spec;
  }
  for (const auto& [name, state] : ledger.credentials()) {
    (*all.mutable_credentials())[name] = state.record.spec;
  }
  for (const auto& [name, record] : ledger.policies()) {
    (*all.mutable_policies())[name] = record.spec;
  }
  return all;
}

}  // namespace keyturn::lifecycle

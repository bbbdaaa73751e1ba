// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/presets.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/file_io.h"
#include "agent/base/strict_yaml.h"

namespace keyturn::providers {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kPresetBytesMax = 64 * 1024;

bool IsName(absl::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '_';
  });
}

absl::Status CheckParams(const internal::v1::Preset& spec, const base::SourceMap& where) {
  for (const auto& [name, param] : spec.params()) {
    const base::YamlPath here = {"params", name};
    if (!IsName(name)) return where.Error(here, "a parameter's name is of a-z, 0-9 and _");
    if (param.about().empty()) return where.Error(here, "`about` is needed");
    if (param.required() && !param.default_().empty()) {
      return where.Error(here, "what is required has no default");
    }
    if (param.required() && param.example().empty()) {
      return where.Error(here, "`example` is needed for what is required");
    }
  }
  return absl::OkStatus();
}

// Each placeholder is a parameter, and each parameter stands somewhere.
absl::Status CheckPlaceholders(internal::v1::Preset spec, const base::SourceMap& where) {
  absl::Status wrong;
  std::set<std::string> used;
  std::vector<std::string> path = {"oauth"};
  VisitTexts(*spec.mutable_oauth(), path,
             [&](const std::vector<std::string>& here, const std::string& text) {
               if (here[1] == "attach") return;  // its `{value}` is the token
               const auto names = PlaceholdersOf(text);
               if (!names.ok()) {
                 if (wrong.ok()) wrong = where.Error(here, names.status().message());
                 return;
               }
               for (const std::string& name : *names) {
                 used.insert(name);
                 if (spec.params().count(name) == 0 && wrong.ok()) {
                   wrong = where.Error(here, absl::StrCat("there is no parameter \"", name, "\""));
                 }
               }
             });
  if (!wrong.ok()) return wrong;
  for (const auto& [name, param] : spec.params()) {
    if (used.count(name) == 0) {
      return where.Error({"params", name}, "is used nowhere");
    }
  }
  return absl::OkStatus();
}

absl::Status Check(const internal::v1::Preset& spec, const base::SourceMap& where,
                   absl::string_view file_name) {
  const std::string stem = std::filesystem::path(std::string(file_name)).stem().string();
  if (spec.preset() != stem) {
    return where.Error({"preset"}, absl::StrCat("must be the file's own name, ", stem));
  }
  if (spec.title().empty()) return where.Error({}, "`title` is needed");
  if (!absl::StartsWith(spec.docs(), "https://")) {
    return where.Error({"docs"}, "must be an https URL");
  }
  const v1::OAuthSpec& oauth = spec.oauth();
  if (std::find(spec.grants().begin(), spec.grants().end(), oauth.grant()) == spec.grants().end() ||
      oauth.grant() == v1::OAUTH_GRANT_UNSPECIFIED) {
    return where.Error({"grants"}, "must name `oauth.grant` and what else the service grants");
  }
  if (!oauth.client_id().empty() || oauth.has_client_secret() || oauth.has_signing_key() ||
      oauth.has_client_certificate() || oauth.has_assertion() || oauth.has_exchange() ||
      !oauth.preset().empty() || !oauth.params().empty()) {
    return where.Error({"oauth"}, "holds what only a credential can state");
  }
  if (absl::Status s = CheckParams(spec, where); !s.ok()) return s;
  return CheckPlaceholders(spec, where);
}

void VisitField(Message& message, const FieldDescriptor* field, std::vector<std::string>& path,
                const std::function<void(const std::vector<std::string>&, std::string&)>& visit) {
  const Reflection* reflection = message.GetReflection();
  const bool is_text = field->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
  if (field->is_repeated()) {
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      path.push_back(absl::StrCat(i));
      if (field->is_map()) {
        Message* entry = reflection->MutableRepeatedMessage(&message, field, i);
        const auto* key = entry->GetDescriptor()->map_key();
        const auto* value = entry->GetDescriptor()->map_value();
        path.back() = entry->GetReflection()->GetString(*entry, key);
        if (value->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
          VisitField(*entry, value, path, visit);
        }
      } else if (is_text) {
        std::string text = reflection->GetRepeatedString(message, field, i);
        visit(path, text);
        reflection->SetRepeatedString(&message, field, i, std::move(text));
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        VisitTexts(*reflection->MutableRepeatedMessage(&message, field, i), path, visit);
      }
      path.pop_back();
    }
  } else if (is_text) {
    std::string text = reflection->GetString(message, field);
    if (text.empty()) return;
    visit(path, text);
    reflection->SetString(&message, field, std::move(text));
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
             reflection->HasField(message, field)) {
    VisitTexts(*reflection->MutableMessage(&message, field), path, visit);
  }
}

}  // namespace

void VisitTexts(
    Message& message, std::vector<std::string>& path,
    const std::function<void(const std::vector<std::string>& path, std::string& text)>& visit) {
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    path.push_back(field->name());
    VisitField(message, field, path, visit);
    path.pop_back();
  }
}

absl::StatusOr<std::vector<std::string>> PlaceholdersOf(absl::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t open = text.find_first_of("{}");
    if (open == absl::string_view::npos) break;
    const size_t close = text.find_first_of("{}", open + 1);
    if (text[open] == '}' || close == absl::string_view::npos || text[close] == '{') {
      return absl::InvalidArgumentError("holds a brace that is not part of a `{NAME}`");
    }
    const absl::string_view name = text.substr(open + 1, close - open - 1);
    if (!IsName(name)) {
      return absl::InvalidArgumentError("between braces stands a name of a-z, 0-9 and _");
    }
    names.emplace_back(name);
    text.remove_prefix(close + 1);
  }
  return names;
}

absl::StatusOr<Preset> ReadPreset(absl::string_view yaml, absl::string_view file_name) {
  Preset preset;
  base::SourceMap where;
  if (absl::Status s = base::ParseYaml(yaml, file_name, &preset.spec, &where); !s.ok()) return s;
  if (absl::Status s = Check(preset.spec, where, file_name); !s.ok()) return s;
  preset.yaml = std::string(yaml);
  preset.file = std::string(file_name);
  return preset;
}

absl::StatusOr<Presets> Presets::Load(const std::vector<std::string>& directories) {
  Presets presets;
  for (const std::string& path : directories) {
    std::error_code error;
    std::filesystem::directory_iterator entries(path, error);
    if (error) {
      return absl::NotFoundError(
          absl::StrCat("presets: cannot read the directory ", path, ": ", error.message()));
    }
    std::vector<std::string> files;
    for (const auto& entry : entries) {
      if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) {
      const auto text = base::ReadFile(file, kPresetBytesMax);
      if (!text.ok()) return text.status();
      auto preset = ReadPreset(*text, file);
      if (!preset.ok()) return preset.status();
      presets.Add(*std::move(preset));
    }
  }
  return presets;
}

void Presets::Add(Preset preset) {
  std::string name = preset.spec.preset();
  presets_[std::move(name)] = std::move(preset);
}

const Preset* Presets::Find(absl::string_view name) const {
  const auto found = presets_.find(name);
  return found == presets_.end() ? nullptr : &found->second;
}

}  // namespace keyturn::providers

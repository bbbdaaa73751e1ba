// SPDX-License-Identifier: Apache-2.0
// From the YAML message to a checked recipe. Every check knows its path, so that the error can say
// where in the file it is.
#include "agent/providers/recipe/recipe.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/ids.h"
#include "agent/base/strict_yaml.h"

namespace keyturn::providers {
namespace {

namespace pb = internal::v1;
using base::SourceMap;
using base::YamlPath;

constexpr uint32_t kTagLengthMin = 16;
constexpr uint32_t kTagLengthDefault = 64;

absl::Duration ToDuration(const google::protobuf::Duration& d) {
  return absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos());
}

YamlPath operator/(YamlPath path, std::string step) {
  path.push_back(std::move(step));
  return path;
}

bool AllOf(absl::string_view text, absl::string_view extra) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains(extra, absl::string_view(&c, 1));
  });
}

// Collects the first error; checks after it do nothing.
class RecipeChecker {
 public:
  RecipeChecker(const pb::Recipe& spec, const SourceMap& where) : spec_(spec), where_(where) {}

  absl::Status status() const { return status_; }

  void Top(absl::string_view file_name);
  RecipeRequest Request(RecipeCall call, const pb::Request& spec);
  void Extracts(const Recipe& recipe);

 private:
  void Fail(const YamlPath& path, absl::string_view message) {
    if (status_.ok()) status_ = where_.Error(path, message);
  }
  TemplateScope ScopeOf(RecipeCall call) const;
  Template Parse(const YamlPath& path, absl::string_view text, const TemplateScope& scope) {
    auto parsed = Template::Parse(text, scope);
    if (parsed.ok()) return *std::move(parsed);
    Fail(path, parsed.status().message());
    return {};
  }
  void Named(const YamlPath& path, const google::protobuf::Map<std::string, std::string>& map,
             const TemplateScope& scope, RecipeRequest::Named* out);
  void Headers(const YamlPath& path, RecipeRequest* request);
  void Path(const YamlPath& path, RecipeRequest* request);
  void Json(const YamlPath& path, const google::protobuf::Value& value, RecipeRequest* request);
  void Pointer(const YamlPath& path, const std::string& pointer);
  void Rules(const YamlPath& path, const RecipeRequest& request);
  void Status(const YamlPath& path, const std::string& text);

  const pb::Recipe& spec_;
  const SourceMap& where_;
  absl::Status status_;
};

void RecipeChecker::Top(absl::string_view file_name) {
  if (!base::CheckName("recipe", spec_.recipe()).ok() || absl::StrContains(spec_.recipe(), "/")) {
    Fail({"recipe"}, "must be the recipe's name, of a-z 0-9 . _ -");
  }
  const absl::string_view file = file_name.substr(file_name.rfind('/') + 1);
  if (absl::EndsWith(file, ".yaml") && file != absl::StrCat(spec_.recipe(), ".yaml")) {
    Fail({"recipe"}, absl::StrCat("must be the file's own name without .yaml, which is \"",
                                  file.substr(0, file.size() - 5), "\""));
  }
  if (spec_.class_() == pb::RECIPE_CLASS_UNSPECIFIED) {
    Fail({"class"}, "is missing; one of tagged, untagged, listed");
  }
  for (const auto& [name, param] : spec_.params()) {
    const YamlPath path = {"params", name};
    if (name.empty() || !AllOf(name, "_")) Fail(path, "a parameter's name is of a-z 0-9 _");
    const std::set<std::string> formats = {"", "uuid", "slug", "number", "text"};
    if (formats.count(param.format()) == 0) {
      Fail(path / "format", "must be uuid, slug, number or text");
    }
    if (param.required() && !param.default_().empty()) {
      Fail(path / "default", "a required parameter has no default");
    }
    if (!param.default_().empty()) {
      if (auto bad = CheckParam(param.format(), param.default_()); !bad.ok()) {
        Fail(path / "default", bad.message());
      }
    }
  }
  if (spec_.tag_max_length() != 0 && spec_.tag_max_length() < kTagLengthMin) {
    Fail({"tag_max_length"}, absl::StrCat("must be at least ", kTagLengthMin));
  }
  const auto& value = spec_.value();
  if (value.max_length() != 0 && value.max_length() < value.min_length()) {
    Fail({"value", "max_length"}, "is smaller than min_length");
  }
  if (!value.format().empty() && !absl::StrContains(value.format(), "{value}")) {
    Fail({"value", "format"}, "must hold {value}");
  }
  for (const auto& [name, request] :
       {std::pair{"create", spec_.has_create()}, std::pair{"list", spec_.has_list()},
        std::pair{"revoke", spec_.has_revoke()}}) {
    if (!request)
      Fail({}, absl::StrCat("the request \"", name, "\" is missing; every class has one"));
  }
}

TemplateScope RecipeChecker::ScopeOf(RecipeCall call) const {
  TemplateScope scope;
  for (const auto& [name, unused] : spec_.params()) scope.params.insert(name);
  scope.manager = call != RecipeCall::kVerify;
  if (scope.manager) {
    scope.manager_fields.insert(spec_.manager_fields().begin(), spec_.manager_fields().end());
  }
  scope.key = call == RecipeCall::kVerify;
  if (scope.key) {
    for (const auto& [name, unused] : spec_.create().extract().fields()) {
      scope.key_fields.insert(name);
    }
  }
  scope.key_id = call == RecipeCall::kRevoke;
  scope.tag = call == RecipeCall::kCreate && spec_.class_() == pb::TAGGED;
  return scope;
}

RecipeRequest RecipeChecker::Request(RecipeCall call, const pb::Request& spec) {
  const YamlPath path = {CallName(call)};
  RecipeRequest request;
  request.call = call;
  request.spec = spec;
  request.scope = ScopeOf(call);
  request.method = spec.method();
  if (request.method.empty()) {
    request.method = call == RecipeCall::kCreate   ? "POST"
                     : call == RecipeCall::kRevoke ? "DELETE"
                                                   : "GET";
  }
  const std::set<std::string> methods = {"GET", "POST", "PUT", "PATCH", "DELETE"};
  if (methods.count(request.method) == 0) {
    Fail(path / "method", "must be GET, POST, PUT, PATCH or DELETE");
  }
  Path(path / "path", &request);
  Named(path / "query", spec.query(), request.scope, &request.query);
  Named(path / "form", spec.form(), request.scope, &request.form);
  Headers(path / "headers", &request);
  if (spec.has_basic_auth()) {
    request.basic_auth = {
        Parse(path / "basic_auth" / "user", spec.basic_auth().user(), request.scope),
        Parse(path / "basic_auth" / "password", spec.basic_auth().password(), request.scope)};
  }
  if (spec.has_json() && !spec.form().empty()) Fail(path / "form", "json is given already");
  if (request.method == "GET" && (spec.has_json() || !spec.form().empty())) {
    Fail(path / "method", "a GET has no body");
  }
  if (spec.has_json()) Json(path / "json", spec.json(), &request);
  Rules(path / "outcomes", request);
  if (spec.has_paging()) {
    if (call != RecipeCall::kList) Fail(path / "paging", "only a list has pages");
    if (spec.paging().query().empty()) Fail(path / "paging", "query is missing");
    if (spec.paging().next().empty()) Fail(path / "paging", "next is missing");
    if (spec.query().contains(spec.paging().query())) {
      Fail(path / "paging" / "query", "stands among the query parameters already");
    }
    Pointer(path / "paging" / "next", spec.paging().next());
  }
  return request;
}

void RecipeChecker::Path(const YamlPath& path, RecipeRequest* request) {
  const std::string& text = request->spec.path();
  if (!absl::StartsWith(text, "/")) Fail(path, "must begin with /");
  if (absl::StrContains(text, "//") || absl::StrContains(text, "/../") ||
      absl::EndsWith(text, "/..") || absl::StrContains(text, "/./")) {
    Fail(path, "must not hold empty or dotted segments");
  }
  if (!AllOf(text, "-._~!$&'()*+,;=:@/%{}")) {
    Fail(path, "has a character that cannot stand in a path; query parameters go into query");
  }
  request->path = Parse(path, text, request->scope);
}

void RecipeChecker::Named(const YamlPath& path,
                          const google::protobuf::Map<std::string, std::string>& map,
                          const TemplateScope& scope, RecipeRequest::Named* out) {
  for (const auto& [name, text] : map) {
    if (name.empty()) Fail(path, "a name is empty");
    out->emplace_back(name, Parse(path / name, text, scope));
  }
  // A protobuf map has no order, and equal recipes should make equal requests.
  std::sort(out->begin(), out->end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
}

void RecipeChecker::Headers(const YamlPath& path, RecipeRequest* request) {
  google::protobuf::Map<std::string, std::string> shared;
  for (const auto& [name, text] : spec_.headers()) {
    const bool named = std::any_of(
        request->spec.headers().begin(), request->spec.headers().end(),
        [&name = name](const auto& own) { return absl::EqualsIgnoreCase(own.first, name); });
    if (!named) shared[name] = text;
  }
  RecipeRequest::Named inherited;
  Named({"headers"}, shared, request->scope, &inherited);
  auto own = request->spec.headers();
  // An empty text leaves an inherited header out.
  for (const auto& [name, text] : request->spec.headers()) {
    if (text.empty()) own.erase(name);
  }
  Named(path, own, request->scope, &request->headers);
  request->headers.insert(request->headers.end(), inherited.begin(), inherited.end());
  std::set<std::string> seen;
  for (const auto& [name, unused] : request->headers) {
    const std::string lower = absl::AsciiStrToLower(name);
    if (!AllOf(name, "-_")) Fail(path, absl::StrCat("\"", name, "\" is no name of a header"));
    if (!seen.insert(lower).second) Fail(path / name, "stands here twice");
    if (lower == "host" || lower == "content-length" || lower == "transfer-encoding" ||
        lower == "connection" || lower == "cookie" || lower == "expect") {
      Fail(path / name, "is not for a recipe to set");
    }
    if (lower == "authorization" && request->spec.has_basic_auth()) {
      Fail(path / name, "basic_auth is given already");
    }
  }
}

void RecipeChecker::Json(const YamlPath& path, const google::protobuf::Value& value,
                         RecipeRequest* request) {
  for (const auto& item : value.list_value().values()) Json(path, item, request);
  for (const auto& [name, item] : value.struct_value().fields()) Json(path, item, request);
  if (value.kind_case() == google::protobuf::Value::kStringValue) {
    Parse(path, value.string_value(), request->scope);
  }
}

void RecipeChecker::Pointer(const YamlPath& path, const std::string& pointer) {
  bool well_formed = pointer.empty() || pointer[0] == '/';
  for (size_t i = 0; i < pointer.size(); ++i) {
    if (pointer[i] != '~') continue;
    well_formed &= i + 1 < pointer.size() && (pointer[i + 1] == '0' || pointer[i + 1] == '1');
  }
  if (!well_formed) {
    Fail(path, "is no JSON Pointer; write for instance /data/0/id, with ~1 for / and ~0 for ~");
  }
}

void RecipeChecker::Status(const YamlPath& path, const std::string& text) {
  const bool exact = text.size() == 3 && text[0] >= '1' && text[0] <= '5' &&
                     absl::ascii_isdigit(static_cast<unsigned char>(text[1])) &&
                     absl::ascii_isdigit(static_cast<unsigned char>(text[2]));
  const bool family =
      text.size() == 3 && text[0] >= '1' && text[0] <= '5' && absl::EndsWith(text, "xx");
  if (!exact && !family) Fail(path, "must be a status such as 404, or a family such as 4xx");
}

void RecipeChecker::Rules(const YamlPath& path, const RecipeRequest& request) {
  bool can_succeed = false;
  for (int i = 0; i < request.spec.outcomes_size(); ++i) {
    const pb::Rule& rule = request.spec.outcomes(i);
    const YamlPath at = path / absl::StrCat(i);
    for (int s = 0; s < rule.status_size(); ++s) {
      Status(at / "status" / absl::StrCat(s), rule.status(s));
    }
    for (int m = 0; m < rule.match_size(); ++m) {
      const pb::Match& match = rule.match(m);
      const YamlPath match_at = at / "match" / absl::StrCat(m);
      Pointer(match_at / "at", match.at());
      if (match.equals().empty() && match.contains().empty() && !match.has_exists()) {
        Fail(match_at, "says nothing; give equals, contains or exists");
      }
    }
    if (rule.is() == pb::OUTCOME_UNSPECIFIED) Fail(at, "says no outcome; give is");
    if (rule.is() == pb::LIMITED && request.call != RecipeCall::kCreate) {
      Fail(at / "is", "only create can meet the limit");
    }
    can_succeed |= rule.is() == pb::OK;
  }
  if (!can_succeed) {
    Fail(path, "no rule says ok, so the request could never succeed");
  }
}

void RecipeChecker::Extracts(const Recipe& recipe) {
  const auto& create = spec_.create().extract();
  const auto& list = spec_.list().extract();
  for (const auto& [path, pointer] :
       {std::pair{YamlPath{"create", "extract", "id"}, create.id()},
        std::pair{YamlPath{"create", "extract", "value"}, create.value()},
        std::pair{YamlPath{"create", "extract", "tag"}, create.tag()},
        std::pair{YamlPath{"list", "extract", "items"}, list.items()},
        std::pair{YamlPath{"list", "extract", "id"}, list.id()},
        std::pair{YamlPath{"list", "extract", "value"}, list.value()},
        std::pair{YamlPath{"list", "extract", "tag"}, list.tag()}}) {
    Pointer(path, pointer);
  }
  for (const auto* extract : {&create, &list}) {
    for (const auto& [name, pointer] : extract->fields()) {
      const YamlPath path = {extract == &create ? "create" : "list", "extract", "fields", name};
      Pointer(path, pointer);
      if (name.empty() || !AllOf(name, "_") || name == "value" || name == "id") {
        Fail(path, "a field's name is of a-z 0-9 _, and neither value nor id");
      }
    }
  }
  if (create.id().empty()) Fail({"create", "extract"}, "id is missing: what revoke will name");
  if (create.value().empty()) Fail({"create", "extract"}, "value is missing: the key itself");
  if (list.id().empty()) Fail({"list", "extract"}, "id is missing");
  if (spec_.class_() == pb::TAGGED) {
    if (list.tag().empty()) {
      Fail({"list", "extract"}, "tag is missing; without it the class is untagged");
    }
    bool used = recipe.create.path.uses_tag();
    for (const auto* named : {&recipe.create.query, &recipe.create.headers, &recipe.create.form}) {
      for (const auto& [name, text] : *named) used |= text.uses_tag();
    }
    used |= absl::StrContains(spec_.create().json().ShortDebugString(), "{tag}");
    if (!used) Fail({"create"}, "does not use {tag}; without it the class is untagged");
  }
  if (spec_.class_() == pb::LISTED && list.value().empty()) {
    Fail({"list", "extract"}, "value is missing; without it the class is untagged or tagged");
  }
}

Traits TraitsOf(const pb::Recipe& spec) {
  Traits traits;
  traits.provider_class = spec.class_() == pb::TAGGED   ? ProviderClass::kTagged
                          : spec.class_() == pb::LISTED ? ProviderClass::kListed
                                                        : ProviderClass::kUntagged;
  traits.key_limit = spec.limit();
  if (spec.timing().has_propagation()) traits.propagation = ToDuration(spec.timing().propagation());
  if (spec.timing().has_settle()) traits.settle = ToDuration(spec.timing().settle());
  if (spec.timing().has_cached_for()) traits.cached_for = ToDuration(spec.timing().cached_for());
  traits.can_verify = spec.has_verify();
  traits.tag_max_length = spec.tag_max_length() == 0 ? kTagLengthDefault : spec.tag_max_length();
  traits.attach_header = spec.value().header();
  traits.attach_format = spec.value().format();
  return traits;
}

// Whether a placeholder of the manager stands anywhere outside verify.
bool NeedsManager(const pb::Recipe& spec) {
  pb::Recipe others = spec;
  others.clear_verify();
  others.clear_title();
  others.clear_sources();
  others.clear_params();
  const std::string text = others.ShortDebugString();
  return absl::StrContains(text, "{manager}") || absl::StrContains(text, "{manager.");
}

}  // namespace

const char* CallName(RecipeCall call) {
  switch (call) {
    case RecipeCall::kCreate:
      return "create";
    case RecipeCall::kList:
      return "list";
    case RecipeCall::kVerify:
      return "verify";
    case RecipeCall::kRevoke:
      return "revoke";
  }
  return "";
}

absl::StatusOr<std::shared_ptr<const Recipe>> ReadRecipe(absl::string_view yaml,
                                                         absl::string_view file_name) {
  auto recipe = std::make_shared<Recipe>();
  SourceMap where;
  if (auto status = base::ParseYaml(yaml, file_name, &recipe->spec, &where); !status.ok()) {
    return status;
  }
  const pb::Recipe& spec = recipe->spec;
  RecipeChecker checker(spec, where);
  checker.Top(file_name);
  if (!checker.status().ok()) return checker.status();
  recipe->create = checker.Request(RecipeCall::kCreate, spec.create());
  recipe->list = checker.Request(RecipeCall::kList, spec.list());
  recipe->revoke = checker.Request(RecipeCall::kRevoke, spec.revoke());
  if (spec.has_verify()) recipe->verify = checker.Request(RecipeCall::kVerify, spec.verify());
  checker.Extracts(*recipe);
  if (!checker.status().ok()) return checker.status();
  recipe->traits = TraitsOf(spec);
  recipe->needs_manager = NeedsManager(spec);
  return recipe;
}

absl::Status CheckParam(absl::string_view format, absl::string_view value) {
  constexpr size_t kLengthMax = 1024;
  if (value.size() > kLengthMax) return absl::InvalidArgumentError("is too long");
  for (const char c : value) {
    if (c < 0x20 || c >= 0x7f) {
      return absl::InvalidArgumentError("must be of printable ASCII characters");
    }
  }
  if (format == "uuid") {
    bool good = value.size() == 36;
    for (size_t i = 0; good && i < value.size(); ++i) {
      const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
      good = dash ? value[i] == '-' : absl::ascii_isxdigit(static_cast<unsigned char>(value[i]));
    }
    if (!good) {
      return absl::InvalidArgumentError(
          "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000");
    }
  } else if (format == "slug") {
    if (value.empty() || !AllOf(value, "-_.") || value[0] == '.') {
      return absl::InvalidArgumentError("must be of letters, digits, and - _ .");
    }
  } else if (format == "number") {
    if (value.empty() || !std::all_of(value.begin(), value.end(), [](char c) {
          return absl::ascii_isdigit(static_cast<unsigned char>(c));
        })) {
      return absl::InvalidArgumentError("must be a whole number");
    }
  }
  return absl::OkStatus();
}

}  // namespace keyturn::providers

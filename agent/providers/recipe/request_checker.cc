// SPDX-License-Identifier: Apache-2.0
// What a single request of a recipe may hold, and from its texts to templates.
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/duration_text.h"
#include "agent/providers/recipe/recipe_checker.h"

namespace keyturn::providers {

namespace pb = internal::v1;

namespace {

using base::ToDuration;

constexpr int kStepsMax = 8;
constexpr absl::Duration kJwtLifetimeMax = absl::Hours(1);
constexpr absl::Duration kRepeatMax = absl::Minutes(5);

base::YamlPath operator/(base::YamlPath path, std::string step) {
  path.push_back(std::move(step));
  return path;
}

const char* DefaultMethod(RecipeCall call, bool is_step) {
  if (is_step) return "GET";
  switch (call) {
    case RecipeCall::kCreate:
    case RecipeCall::kManagerToken:
      return "POST";
    case RecipeCall::kRevoke:
      return "DELETE";
    default:
      return "GET";
  }
}

}  // namespace

TemplateScope RecipeChecker::ScopeOf(RecipeCall call) const {
  const auto recipe_class = spec_.class_();
  const bool create = call == RecipeCall::kCreate;
  const bool revoke = call == RecipeCall::kRevoke;
  const bool self_roll = create && recipe_class == pb::SELF_ROLL;
  TemplateScope scope;
  for (const auto& [name, param] : spec_.params()) {
    scope.params.insert(name);
    if (!param.format().empty()) scope.param_formats[name] = param.format();
  }
  for (const auto& [name, unused] : spec_.jwts()) scope.jwts.insert(name);
  scope.manager = call != RecipeCall::kVerify && recipe_class != pb::SELF_ROLL;
  if (scope.manager) {
    scope.manager_fields.insert(spec_.manager_fields().begin(), spec_.manager_fields().end());
  }
  scope.manager_token =
      scope.manager && spec_.has_manager_token() && call != RecipeCall::kManagerToken;
  scope.key = call == RecipeCall::kVerify || revoke || self_roll;
  if (scope.key) {
    for (const auto& [name, unused] : spec_.create().extract().fields()) {
      scope.key_fields.insert(name);
    }
    for (const auto& step : spec_.create().then()) {
      for (const auto& [name, unused] : step.extract().fields()) scope.key_fields.insert(name);
    }
  }
  scope.key_id = revoke || (create && recipe_class == pb::ROLL);
  scope.slot = (create || revoke) && spec_.slots_size() > 0;
  scope.secret = create && recipe_class == pb::CHOSEN;
  scope.tag = create;
  scope.lifetime = create && !spec_.lifetime().empty();
  return scope;
}

Template RecipeChecker::Parse(const Path& path, absl::string_view text,
                              const TemplateScope& scope) {
  auto parsed = Template::Parse(text, scope);
  if (!parsed.ok()) {
    Fail(path, parsed.status().message());
    return {};
  }
  for (const std::string& name : parsed->jwts()) used_jwts_.insert(name);
  used_manager_token_ |= parsed->uses_manager_token();
  return *std::move(parsed);
}

RecipeRequest RecipeChecker::Request(RecipeCall call, const pb::Request& spec) {
  const Path path = {CallName(call)};
  RecipeRequest request = One(path, call, false, spec, ScopeOf(call));
  if (spec.has_repeat()) Fail(path / "repeat", "only a request of then is repeated");
  if (spec.then_size() > 0) Steps(path, &request);
  return request;
}

void RecipeChecker::Steps(const Path& path, RecipeRequest* request) {
  const pb::Request& spec = request->spec;
  if (request->call != RecipeCall::kCreate && request->call != RecipeCall::kRevoke) {
    Fail(path / "then", "is for create and revoke");
  }
  if (spec.then_size() > kStepsMax) Fail(path / "then", absl::StrCat("at most ", kStepsMax));
  TemplateScope scope = request->scope;
  scope.new_key = true;
  const auto learn = [&](const pb::Extract& extract) {
    if (extract.has_id()) scope.new_fields.insert("id");
    if (extract.has_value()) scope.new_fields.insert({"", "value"});
    for (const auto& [name, unused] : extract.fields()) scope.new_fields.insert(name);
    for (const auto& [name, unused] : extract.keep()) scope.new_fields.insert(name);
  };
  learn(spec.extract());
  for (int i = 0; i < spec.then_size(); ++i) {
    const pb::Request& step = spec.then(i);
    const Path at = path / "then" / absl::StrCat(i);
    if (step.then_size() > 0) Fail(at / "then", "stands in a then already");
    if (step.has_repeat()) {
      const absl::Duration every = ToDuration(step.repeat().every());
      const absl::Duration up_to = ToDuration(step.repeat().up_to());
      if (every < absl::Milliseconds(100)) Fail(at / "repeat", "every must be at least 100ms");
      if (up_to < every || up_to > kRepeatMax) {
        Fail(at / "repeat", "up_to must be at least every and at most 5m");
      }
    }
    request->then.push_back(One(at, request->call, true, step, scope));
    learn(step.extract());
  }
}

RecipeRequest RecipeChecker::One(const Path& path, RecipeCall call, bool is_step,
                                 const pb::Request& spec, const TemplateScope& scope) {
  used_jwts_.clear();
  used_manager_token_ = false;
  RecipeRequest request;
  request.call = call;
  request.is_step = is_step;
  request.spec = spec;
  request.scope = scope;
  request.xml = spec_.reply_format() == pb::XML && call != RecipeCall::kManagerToken;
  request.method = spec.method().empty() ? DefaultMethod(call, is_step) : spec.method();
  const std::set<std::string> methods = {"GET", "POST", "PUT", "PATCH", "DELETE"};
  if (methods.count(request.method) == 0) {
    Fail(path / "method", "must be GET, POST, PUT, PATCH or DELETE");
  }
  if (!spec.endpoint().empty()) {
    const auto found = spec_.params().find(spec.endpoint());
    if (found == spec_.params().end() || found->second.format() != "url") {
      Fail(path / "endpoint", "must be the name of a parameter of format url");
    } else if (!found->second.required() && found->second.default_().empty()) {
      Fail(path / "endpoint", "that parameter must be required or have a default");
    }
  }
  UrlPath(path / "path", &request);
  Named(path / "query", spec.query(), scope, &request.query);
  Headers(path / "headers", &request);
  if (spec.has_basic_auth()) {
    request.basic_auth = {
        Parse(path / "basic_auth" / "user", spec.basic_auth().user(), scope),
        Parse(path / "basic_auth" / "password", spec.basic_auth().password(), scope)};
  }
  Body(path, &request);
  Signature(path / "sign", &request);
  Extract(path / "extract", request);
  TemplateScope for_reply = scope;
  for_reply.jwts.clear();  // they are signed for the request alone
  request.find_equals =
      Parse(path / "extract" / "find" / "equals", spec.extract().find().equals(), for_reply);
  Rules(path / "outcomes", request);
  if (spec.has_paging()) Paging(path / "paging", request);
  request.uses_manager_token = used_manager_token_;
  Jwts(&request);
  return request;
}

void RecipeChecker::UrlPath(const Path& path, RecipeRequest* request) {
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

void RecipeChecker::Named(const Path& path, const StringMap& map, const TemplateScope& scope,
                          RecipeRequest::Named* out) {
  for (const auto& [name, text] : map) {
    if (name.empty()) Fail(path, "a name is empty");
    out->emplace_back(name, Parse(path / name, text, scope));
  }
  // A protobuf map has no order, and equal recipes should make equal requests.
  std::sort(out->begin(), out->end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
}

void RecipeChecker::Headers(const Path& path, RecipeRequest* request) {
  StringMap shared;
  if (request->call != RecipeCall::kManagerToken) {
    for (const auto& [name, text] : spec_.headers()) {
      const bool named = std::any_of(
          request->spec.headers().begin(), request->spec.headers().end(),
          [&name = name](const auto& own) { return absl::EqualsIgnoreCase(own.first, name); });
      if (!named) shared[name] = text;
    }
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

void RecipeChecker::Body(const Path& path, RecipeRequest* request) {
  const pb::Request& spec = request->spec;
  Named(path / "form", spec.form(), request->scope, &request->form);
  if (spec.has_json() && !spec.form().empty()) Fail(path / "form", "json is given already");
  if (request->method == "GET" && (spec.has_json() || !spec.form().empty())) {
    Fail(path / "method", "a GET has no body");
  }
  if (spec.has_json()) Json(path / "json", spec.json(), request);
}

void RecipeChecker::Json(const Path& path, const google::protobuf::Value& value,
                         RecipeRequest* request) {
  for (const auto& item : value.list_value().values()) Json(path, item, request);
  for (const auto& [name, item] : value.struct_value().fields()) Json(path, item, request);
  if (value.kind_case() == google::protobuf::Value::kStringValue) {
    Parse(path, value.string_value(), request->scope);
  }
}

void RecipeChecker::Signature(const Path& path, RecipeRequest* request) {
  const bool own = request->spec.has_sign();
  if (!own && (!spec_.has_sign() || request->call == RecipeCall::kManagerToken)) return;
  const pb::Sign& sign = own ? request->spec.sign() : spec_.sign();
  if (!sign.has_aws_sigv4()) return;
  const auto& aws = sign.aws_sigv4();
  const Path at = (own ? path : Path{"sign"}) / "aws_sigv4";
  for (const auto& [name, text] :
       {std::pair{"service", aws.service()}, std::pair{"region", aws.region()},
        std::pair{"access_key_id", aws.access_key_id()},
        std::pair{"secret_access_key", aws.secret_access_key()}}) {
    if (text.empty()) Fail(at, absl::StrCat(name, " is missing"));
  }
  const TemplateScope& scope = request->scope;
  request->aws_signature = RecipeAwsSignature{
      Parse(at / "service", aws.service(), scope), Parse(at / "region", aws.region(), scope),
      Parse(at / "access_key_id", aws.access_key_id(), scope),
      Parse(at / "secret_access_key", aws.secret_access_key(), scope),
      Parse(at / "session_token", aws.session_token(), scope)};
  for (const auto& [name, unused] : request->headers) {
    if (absl::EqualsIgnoreCase(name, "authorization")) {
      Fail(at, "signs the request, but there is an Authorization header already");
    }
  }
  if (request->basic_auth.has_value()) Fail(at, "signs the request, but basic_auth is given");
}

void RecipeChecker::Jwts(RecipeRequest* request) {
  const std::set<std::string> used = used_jwts_;
  TemplateScope scope = request->scope;
  scope.jwts.clear();
  scope.manager_token = false;
  for (const std::string& name : used) {
    ever_used_jwts_.insert(name);
    const pb::Jwt& spec = spec_.jwts().at(name);
    const Path path = {"jwts", name};
    RecipeJwt jwt;
    jwt.name = name;
    jwt.algorithm = spec.algorithm();
    if (spec.algorithm() == pb::JWT_ALGORITHM_UNSPECIFIED) {
      Fail(path, "algorithm is missing: rs256 or es256");
    }
    if (spec.key().empty()) Fail(path, "key is missing: a private key in PEM");
    jwt.key = Parse(path / "key", spec.key(), scope);
    Named(path / "claims", spec.claims(), scope, &jwt.claims);
    Named(path / "header", spec.header(), scope, &jwt.header);
    for (const char* ours : {"iat", "exp"}) {
      if (spec.claims().contains(ours)) Fail(path / "claims" / ours, "is filled in");
    }
    for (const char* ours : {"alg", "typ"}) {
      if (spec.header().contains(ours)) Fail(path / "header" / ours, "is filled in");
    }
    jwt.lifetime = ToDuration(spec.lifetime());
    jwt.backdate = ToDuration(spec.backdate());
    if (jwt.lifetime < absl::Seconds(10) || jwt.lifetime > kJwtLifetimeMax) {
      Fail(path, "lifetime must be between 10s and 1h");
    }
    if (jwt.backdate > absl::Minutes(5)) Fail(path / "backdate", "must be at most 5m");
    request->jwts.push_back(std::move(jwt));
  }
}

void RecipeChecker::Pointer(const Path& path, const std::string& pointer) {
  bool well_formed = pointer.empty() || pointer[0] == '/';
  for (size_t i = 0; i < pointer.size(); ++i) {
    if (pointer[i] != '~') continue;
    well_formed &= i + 1 < pointer.size() && (pointer[i + 1] == '0' || pointer[i + 1] == '1');
  }
  if (!well_formed) {
    Fail(path, "is no JSON Pointer; write for instance /data/0/id, with ~1 for / and ~0 for ~");
  }
}

void RecipeChecker::Picks(const Path& path,
                          const google::protobuf::Map<std::string, pb::Pick>& picks) {
  for (const auto& [name, pick] : picks) {
    Pointer(path / name, pick.at());
    if (name.empty() || !AllOf(name, "_") || name == "value" || name == "id") {
      Fail(path / name, "a field's name is of a-z 0-9 _, and neither value nor id");
    }
  }
}

void RecipeChecker::Extract(const Path& path, const RecipeRequest& request) {
  const pb::Extract& extract = request.spec.extract();
  const bool list = request.call == RecipeCall::kList;
  const bool create = request.call == RecipeCall::kCreate;
  const bool token = request.call == RecipeCall::kManagerToken;
  if (!list && !create && !token && request.spec.has_extract()) {
    Fail(path, "nothing is read from this reply");
  }
  for (const auto& [name, pointer] :
       {std::pair{"items", extract.items()}, std::pair{"id", extract.id().at()},
        std::pair{"value", extract.value().at()}, std::pair{"tag", extract.tag()},
        std::pair{"expires_at", extract.expires_at().at()}, std::pair{"hint", extract.hint()}}) {
    Pointer(path / name, pointer);
  }
  Picks(path / "fields", extract.fields());
  Picks(path / "keep", extract.keep());
  Matches(path / "only", extract.only());
  Matches(path / "dead", extract.dead());
  const bool of_lists = !extract.items().empty() || extract.only_size() > 0 ||
                        extract.dead_size() > 0 || !extract.hint().empty() ||
                        extract.items_optional() || !extract.tag().empty();
  if (!list && of_lists) Fail(path, "items, tag, only, dead and hint are for list");
  if (!create && (!extract.keep().empty() || extract.has_find())) {
    Fail(path, "keep and find are for create");
  }
  if (extract.has_find()) {
    Pointer(path / "find" / "items", extract.find().items());
    Pointer(path / "find" / "at", extract.find().at());
    if (extract.find().at().empty()) Fail(path / "find", "at is missing");
    if (extract.find().equals().empty()) Fail(path / "find", "equals is missing");
  }
}

void RecipeChecker::Matches(const Path& path,
                            const google::protobuf::RepeatedPtrField<pb::Match>& matches) {
  for (int m = 0; m < matches.size(); ++m) {
    const pb::Match& match = matches.Get(m);
    const Path at = path / absl::StrCat(m);
    Pointer(at / "at", match.at());
    if (match.equals().empty() && match.contains().empty() && match.starts_with().empty() &&
        !match.has_exists()) {
      Fail(at, "says nothing; give equals, contains, starts_with or exists");
    }
  }
}

void RecipeChecker::Paging(const Path& path, const RecipeRequest& request) {
  const pb::Paging& paging = request.spec.paging();
  if (request.call != RecipeCall::kList) Fail(path, "only a list has pages");
  if (paging.query().empty()) Fail(path, "query is missing");
  const int ways = (paging.next().empty() ? 0 : 1) + (paging.has_first_page() ? 1 : 0) +
                   (paging.offset() ? 1 : 0);
  if (ways == 0) Fail(path, "next is missing, or first_page, or offset");
  if (ways > 1) Fail(path, "next, first_page and offset exclude each other");
  if (request.spec.query().contains(paging.query())) {
    Fail(path / "query", "stands among the query parameters already");
  }
  Pointer(path / "next", paging.next());
  Pointer(path / "more", paging.more());
}

void RecipeChecker::Status(const Path& path, const std::string& text) {
  const bool exact = text.size() == 3 && text[0] >= '1' && text[0] <= '5' &&
                     absl::ascii_isdigit(static_cast<unsigned char>(text[1])) &&
                     absl::ascii_isdigit(static_cast<unsigned char>(text[2]));
  const bool family =
      text.size() == 3 && text[0] >= '1' && text[0] <= '5' && absl::EndsWith(text, "xx");
  if (!exact && !family) Fail(path, "must be a status such as 404, or a family such as 4xx");
}

void RecipeChecker::Rules(const Path& path, const RecipeRequest& request) {
  bool can_succeed = false;
  for (int i = 0; i < request.spec.outcomes_size(); ++i) {
    const pb::Rule& rule = request.spec.outcomes(i);
    const Path at = path / absl::StrCat(i);
    for (int s = 0; s < rule.status_size(); ++s) {
      Status(at / "status" / absl::StrCat(s), rule.status(s));
    }
    Matches(at / "match", rule.match());
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

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
// Each place escapes for itself: the path and the query are percent-encoded, headers are checked,
// JSON is built as a tree and written by the library. Strings that held secrets are wiped.
#include "agent/providers/recipe/request_builder.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"
#include "agent/providers/signing/aws_sigv4.h"
#include "agent/providers/signing/jwt.h"

namespace keyturn::providers {
namespace {

using google::protobuf::Value;
using nlohmann::json;

// `a=b&c=d`.
absl::Status AppendPairs(const RecipeRequest::Named& pairs, const TemplateValues& values,
                         std::string* out) {
  for (const auto& [name, text] : pairs) {
    if (text.LeftOut(values)) continue;
    auto value = text.Render(values, Template::Place::kQuery);
    if (!value.ok()) return value.status();
    // Names are literal; a template without placeholders encodes them like values.
    TemplateValues none;
    std::map<std::string, std::string> params = {{"n", name}};
    none.params = &params;
    TemplateScope scope;
    scope.params = {"n"};
    auto encoded = Template::Parse("{params.n}", scope)->Render(none, Template::Place::kQuery);
    std::string longer = absl::StrCat(*out, out->empty() ? "" : "&", *encoded, "=", *value);
    base::Wipe(*value);
    base::Wipe(*out);
    out->swap(longer);
  }
  return absl::OkStatus();
}

// A text that is one parameter and nothing else becomes what the parameter's format says.
absl::StatusOr<json> JsonOfText(const Template& text, const TemplateValues& values) {
  auto rendered = text.Render(values, Template::Place::kText);
  if (!rendered.ok()) return rendered.status();
  int64_t number = 0;
  switch (text.json_kind()) {
    case Template::JsonKind::kNumber:
      if (absl::SimpleAtoi(*rendered, &number)) return json(number);
      return absl::InvalidArgumentError("a number in the JSON body is none");
    case Template::JsonKind::kBool:
      return json(*rendered == "true");
    case Template::JsonKind::kList: {
      json list = json::array();
      for (const absl::string_view item : absl::StrSplit(*rendered, ',', absl::SkipWhitespace())) {
        list.push_back(std::string(absl::StripAsciiWhitespace(item)));
      }
      return list;
    }
    case Template::JsonKind::kJson: {
      const auto tree = ParseJson(*rendered);
      if (tree == nullptr) return absl::InvalidArgumentError("a parameter is no JSON");
      return std::move(*tree);
    }
    case Template::JsonKind::kText:
      break;
  }
  return json(*std::move(rendered));
}

bool LeftOut(const Value& value, const TemplateScope& scope, const TemplateValues& values) {
  return value.kind_case() == Value::kStringValue &&
         Template::Parse(value.string_value(), scope)->LeftOut(values);
}

absl::StatusOr<json> BuildJson(const Value& value, const TemplateScope& scope,
                               const TemplateValues& values) {
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  switch (value.kind_case()) {
    case Value::kBoolValue:
      return json(value.bool_value());
    case Value::kNumberValue: {
      const double number = value.number_value();
      if (number == std::floor(number) && std::abs(number) <= kExactMax) {
        return json(static_cast<int64_t>(number));
      }
      return json(number);
    }
    case Value::kStringValue:
      return JsonOfText(*Template::Parse(value.string_value(), scope), values);
    case Value::kListValue: {
      json list = json::array();
      for (const Value& item : value.list_value().values()) {
        if (LeftOut(item, scope, values)) continue;
        auto built = BuildJson(item, scope, values);
        if (!built.ok()) {
          WipeJson(list);
          return built.status();
        }
        list.push_back(*std::move(built));
      }
      return list;
    }
    case Value::kStructValue: {
      json object = json::object();
      for (const auto& [name, item] : value.struct_value().fields()) {
        if (LeftOut(item, scope, values)) continue;
        auto built = BuildJson(item, scope, values);
        if (!built.ok()) {
          WipeJson(object);
          return built.status();
        }
        object[name] = *std::move(built);
      }
      return object;
    }
    default:
      return json(nullptr);
  }
}

absl::Status AddBody(const RecipeRequest& request, const TemplateValues& values,
                     net::HttpRequest* http) {
  std::string text;
  const char* type = nullptr;
  if (request.spec.has_json()) {
    auto tree = BuildJson(request.spec.json(), request.scope, values);
    if (!tree.ok()) return tree.status();
    const absl::Cleanup wipe = [&] { WipeJson(*tree); };
    try {
      text = tree->dump();
    } catch (const json::exception&) {
      return absl::InvalidArgumentError("a value in the JSON body is not UTF-8");
    }
    type = "application/json";
  } else if (!request.form.empty()) {
    if (auto status = AppendPairs(request.form, values, &text); !status.ok()) return status;
    type = "application/x-www-form-urlencoded";
  } else {
    return absl::OkStatus();
  }
  http->body = base::Secret::Take(text);
  for (const auto& [name, unused] : http->headers) {
    if (absl::EqualsIgnoreCase(name, "content-type")) return absl::OkStatus();
  }
  http->headers.emplace_back("Content-Type", base::Secret(type));
  return absl::OkStatus();
}

absl::Status AddHeaders(const RecipeRequest& request, const TemplateValues& values,
                        net::HttpRequest* http) {
  for (const auto& [name, text] : request.headers) {
    if (text.LeftOut(values)) continue;
    auto value = text.Render(values, Template::Place::kHeader);
    if (!value.ok()) return value.status();
    http->headers.emplace_back(name, base::Secret::Take(*value));
  }
  if (!request.basic_auth.has_value()) return absl::OkStatus();
  auto user = request.basic_auth->first.Render(values, Template::Place::kText);
  if (!user.ok()) return user.status();
  auto password = request.basic_auth->second.Render(values, Template::Place::kText);
  if (!password.ok()) return password.status();
  // RFC 7617: the first colon ends the user.
  const bool has_colon = absl::StrContains(*user, ":");
  std::string pair = absl::StrCat(*user, ":", *password);
  std::string encoded = absl::Base64Escape(pair);
  std::string header = absl::StrCat("Basic ", encoded);
  for (std::string* used : {&*user, &*password, &pair, &encoded}) base::Wipe(*used);
  http->headers.emplace_back("Authorization", base::Secret::Take(header));
  if (has_colon) return absl::InvalidArgumentError("the user of basic_auth has a colon in it");
  return absl::OkStatus();
}

// The tokens that the request's texts name.
absl::StatusOr<std::map<std::string, base::Secret>> SignJwts(const RecipeRequest& request,
                                                             const TemplateValues& values) {
  std::map<std::string, base::Secret> tokens;
  for (const RecipeJwt& jwt : request.jwts) {
    JwtContent content;
    content.issued_at = values.now - jwt.backdate;
    content.expires_at = values.now + jwt.lifetime;
    for (auto [named, out] :
         {std::pair{&jwt.claims, &content.claims}, std::pair{&jwt.header, &content.header}}) {
      for (const auto& [name, text] : *named) {
        if (text.LeftOut(values)) continue;
        auto rendered = text.Render(values, Template::Place::kText);
        if (!rendered.ok()) return rendered.status();
        (*out)[name] = *std::move(rendered);
      }
    }
    auto pem = jwt.key.Render(values, Template::Place::kText);
    if (!pem.ok()) return pem.status();
    auto token =
        SignJwt(jwt.algorithm == internal::v1::RS256 ? JwtSignature::kRs256 : JwtSignature::kEs256,
                base::Secret::Take(*pem), content);
    if (!token.ok()) return token.status();
    tokens[jwt.name] = *std::move(token);
  }
  return tokens;
}

absl::Status AddSignature(const RecipeRequest& request, const TemplateValues& values,
                          net::HttpRequest* http) {
  if (!request.aws_signature.has_value()) return absl::OkStatus();
  const RecipeAwsSignature& spec = *request.aws_signature;
  AwsIdentity identity;
  std::string secret;
  std::string session;
  for (auto [text, out] :
       {std::pair{&spec.service, &identity.service}, std::pair{&spec.region, &identity.region},
        std::pair{&spec.access_key_id, &identity.access_key_id},
        std::pair{&spec.secret_access_key, &secret}, std::pair{&spec.session_token, &session}}) {
    if (text->LeftOut(values)) continue;
    auto rendered = text->Render(values, Template::Place::kHeader);
    if (!rendered.ok()) return rendered.status();
    *out = *std::move(rendered);
  }
  identity.secret_access_key = base::Secret::Take(secret);
  identity.session_token = base::Secret::Take(session);
  return SignAwsSigV4(identity, values.now, http);
}

}  // namespace

absl::StatusOr<net::HttpRequest> BuildRequest(const RecipeRequest& request,
                                              const std::string& endpoint, TemplateValues values,
                                              absl::string_view cursor, absl::Duration timeout) {
  auto jwts = SignJwts(request, values);
  if (!jwts.ok()) return jwts.status();
  values.jwts = &*jwts;
  net::HttpRequest http;
  http.method = request.method;
  http.timeout = timeout;
  // Asking again does no harm where nothing changes.
  http.fresh_connection = request.call != RecipeCall::kList && request.call != RecipeCall::kVerify;
  auto path = request.path.Render(values, Template::Place::kPath);
  if (!path.ok()) return path.status();
  std::string query;
  if (auto status = AppendPairs(request.query, values, &query); !status.ok()) return status;
  if (!cursor.empty()) {
    const std::map<std::string, std::string> params = {{"c", std::string(cursor)}};
    TemplateValues page;
    page.params = &params;
    TemplateScope scope;
    scope.params = {"c"};
    const RecipeRequest::Named pair = {
        {request.spec.paging().query(), Template::Parse("{params.c}", scope).value()}};
    if (auto status = AppendPairs(pair, page, &query); !status.ok()) return status;
  }
  const std::string& base =
      request.spec.endpoint().empty() ? endpoint : values.params->at(request.spec.endpoint());
  http.url = absl::StrCat(base, *path, query.empty() ? "" : "?", query);
  base::Wipe(*path);
  base::Wipe(query);
  if (auto status = AddHeaders(request, values, &http); !status.ok()) return status;
  if (auto status = AddBody(request, values, &http); !status.ok()) return status;
  if (auto status = AddSignature(request, values, &http); !status.ok()) return status;
  return http;
}

}  // namespace keyturn::providers

// SPDX-License-Identifier: Apache-2.0
//
// Routing and the test controls. The same template strings name a route in the counters and in
// the README. Thread-safe through one mutex, held only for the work in memory of one request.
#include "tests/sandbox/service.h"

#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

#include "tests/sandbox/strict_object.h"

namespace keyturn::sandbox {
namespace {

using nlohmann::json;

constexpr size_t kMaxAppIdLength = 128;
constexpr absl::string_view kControlPrefix = "/sandbox/";

Reply NotFound() { return DifyError(404, "not_found", "no such path"); }

Reply MethodNotAllowed(absl::string_view allowed) {
  Reply reply = DifyError(405, "method_not_allowed", "this path has no such method");
  reply.headers.emplace_back("Allow", allowed);
  return reply;
}

Reply BadRequest(absl::string_view message) { return DifyError(400, "bad_request", message); }

// "/console/api/apps/{app_id}/api-keys" and what is beneath it.
bool IsAppKeys(const std::vector<std::string>& path) {
  return (path.size() == 5 || path.size() == 6) && path[0] == "console" && path[1] == "api" &&
         path[2] == "apps" && !path[3].empty() && path[3].size() <= kMaxAppIdLength &&
         path[4] == "api-keys";
}

// Only known methods and templates come out, so the counters cannot grow with what a client makes
// up.
std::string RouteTemplate(const Request& request) {
  std::string route;
  const std::optional<std::vector<std::string>> path = PathSegments(request.path);
  if (path.has_value() && IsAppKeys(*path)) {
    route = "/console/api/apps/{app_id}/api-keys";
    if (path->size() == 6) route += "/{key_id}";
  } else if (request.path == "/v1/info" || request.path == "/oauth/token" ||
             request.path == "/resource") {
    route = request.path;
  }
  const bool known_method =
      request.method == "GET" || request.method == "POST" || request.method == "DELETE";
  return route.empty() || !known_method ? "unmatched" : absl::StrCat(request.method, " ", route);
}

}  // namespace

Service::Service(const SandboxOptions& options)
    : initial_faults_(options.faults),
      tokens_(options.seed),
      dify_(options.dify, &tokens_),
      oauth_(options.oauth, &tokens_) {
  absl::MutexLock lock(&mutex_);
  faults_.Replace(initial_faults_);
}

Service::Admission Service::Admit(const Request& request) {
  absl::MutexLock lock(&mutex_);
  if (absl::StartsWith(request.path, kControlPrefix)) return {std::nullopt, epoch_};
  ++requests_[RouteTemplate(request)];
  return {faults_.Take(request.method, request.path), epoch_};
}

Reply Service::Perform(const Request& request, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  return Route(request, now);
}

void Service::PerformLate(const Request& request, uint64_t epoch, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  // The reply has nobody to go to; the effect is the point.
  if (epoch == epoch_) (void)Route(request, now);
}

Reply Service::Route(const Request& request, absl::Time now) {
  const std::string& path = request.path;
  if (absl::StartsWith(path, kControlPrefix)) return RouteControl(request, now);
  if (path == "/v1/info") {
    return request.method == "GET" ? dify_.Info(request, now) : MethodNotAllowed("GET");
  }
  if (path == "/oauth/token") {
    return request.method == "POST" ? oauth_.Token(request, now) : MethodNotAllowed("POST");
  }
  if (path == "/resource") {
    return request.method == "GET" ? oauth_.Resource(request, now) : MethodNotAllowed("GET");
  }
  const std::optional<std::vector<std::string>> segments = PathSegments(path);
  if (segments.has_value() && IsAppKeys(*segments)) return RouteConsole(request, *segments, now);
  return NotFound();
}

Reply Service::RouteConsole(const Request& request, const std::vector<std::string>& path,
                            absl::Time now) {
  const std::string& app_id = path[3];
  if (path.size() == 6) {
    return request.method == "DELETE" ? dify_.Delete(request, app_id, path[5], now)
                                      : MethodNotAllowed("DELETE");
  }
  if (request.method == "GET") return dify_.List(request, app_id);
  if (request.method == "POST") return dify_.Create(request, app_id, now);
  return MethodNotAllowed("GET, POST");
}

Reply Service::RouteControl(const Request& request, absl::Time now) {
  const absl::string_view path = absl::string_view(request.path).substr(kControlPrefix.size());
  const std::string& method = request.method;
  if (path == "state") {
    if (method != "GET") return MethodNotAllowed("GET");
    return JsonReply(200, {{"apps", dify_.Snapshot()},
                           {"oauth", oauth_.Snapshot(now)},
                           {"requests", json(requests_)},
                           {"faults", faults_.Snapshot()}});
  }
  if (path == "reset") return method == "POST" ? Reset() : MethodNotAllowed("POST");
  if (path == "faults" && method == "GET") return JsonReply(200, faults_.Snapshot());
  if (path == "faults" && method == "DELETE") {
    faults_.Replace({});
    return JsonReply(200, faults_.Snapshot());
  }

  const bool wants_body = path == "faults" || path == "check" || path == "oauth/grant";
  if (!wants_body) return NotFound();
  const absl::string_view verb = path == "faults" ? "PUT" : "POST";
  if (method != verb) return MethodNotAllowed(path == "faults" ? "GET, PUT, DELETE" : "POST");
  const json body = json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  if (body.is_discarded()) return BadRequest("the body is not JSON");
  if (path == "faults") return PutFaults(body);
  return path == "check" ? Check(body, now) : SeedGrant(body);
}

Reply Service::PutFaults(const json& body) {
  absl::StatusOr<std::vector<FaultRule>> rules = ParseFaultRules(body);
  if (!rules.ok()) return BadRequest(rules.status().message());
  faults_.Replace(*std::move(rules));
  return JsonReply(200, faults_.Snapshot());
}

Reply Service::SeedGrant(const json& body) {
  StrictObject fields(body, "");
  std::string client_id;
  std::string scope;
  fields.Require("client_id");
  fields.Read("client_id", &client_id);
  fields.Read("scope", &scope);
  if (absl::Status status = fields.Finish(); !status.ok()) return BadRequest(status.message());
  absl::StatusOr<std::string> refresh_token = oauth_.SeedGrant(client_id, std::move(scope));
  if (!refresh_token.ok()) return BadRequest(refresh_token.status().message());
  return JsonReply(200, {{"refresh_token", *refresh_token}});
}

Reply Service::Check(const json& body, absl::Time now) {
  StrictObject fields(body, "");
  std::string token;
  fields.Require("token");
  fields.Read("token", &token);
  if (absl::Status status = fields.Finish(); !status.ok()) return BadRequest(status.message());
  const char* kind = "none";
  if (dify_.Accepts(token, now)) {
    kind = "app_key";
  } else if (oauth_.AcceptsAccessToken(token, now)) {
    kind = "access_token";
  } else if (oauth_.AcceptsRefreshToken(token, now)) {
    kind = "refresh_token";
  }
  return JsonReply(200, {{"valid", kind != absl::string_view("none")}, {"kind", kind}});
}

Reply Service::Reset() {
  dify_.Reset();
  oauth_.Reset();
  faults_.Replace(initial_faults_);
  requests_.clear();
  // The token source goes on where it was: tokens from before the reset must never come back.
  ++epoch_;
  return JsonReply(200, {{"ok", true}});
}

}  // namespace keyturn::sandbox

// SPDX-License-Identifier: Apache-2.0
#include "agent/api/credential_service.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/api/pending_call.h"
#include "agent/api/status_mapping.h"
#include "agent/api/watch_call.h"
#include "agent/api/wiping_messages.h"
#include "agent/base/duration_text.h"
#include "agent/base/ids.h"

namespace keyturn::api {
namespace {

constexpr int kBatchMax = 100;
// For a caller that set no deadline, and the most that any caller can make us wait.
constexpr absl::Duration kWaitDefault = absl::Seconds(30);
constexpr absl::Duration kWaitMax = absl::Minutes(10);

grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

// INVALID_ARGUMENT for less than zero.
absl::Status MinRemaining(const v1::GetRequest& request, absl::Duration& out) {
  if (!request.has_min_remaining()) return absl::OkStatus();
  out = base::ToDuration(request.min_remaining());
  if (out >= absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError("min_remaining is negative");
}

}  // namespace

CredentialService::CredentialService(const Dependencies& dependencies, ConnectionPolicy& policy)
    : resolver_(dependencies.resolver),
      watch_hub_(dependencies.watch_hub),
      lifecycle_(dependencies.lifecycle),
      clock_(dependencies.clock),
      policy_(policy),
      audit_(dependencies.audit, policy),
      marks_(dependencies.lifecycle, dependencies.clock, policy) {
  SetMessageAllocatorFor_Get(WipingMessages<v1::GetRequest, v1::GetResponse>::Instance());
  SetMessageAllocatorFor_BatchGet(
      WipingMessages<v1::BatchGetRequest, v1::BatchGetResponse>::Instance());
}

absl::Status CredentialService::Authorize(const char* method, absl::string_view name,
                                          authz::Decision& decision) {
  if (absl::Status status = base::CheckName("name", name); !status.ok()) return status;
  decision = policy_.Decide(authz::Action::kRead, name);
  if (decision.allowed) return absl::OkStatus();
  audit_.Denied(method, name);
  return Denied(policy_.principal_text(), authz::Action::kRead, name);
}

void CredentialService::Given(const char* method, const v1::Credential& credential,
                              const authz::Decision& decision) {
  audit_.Given(method, credential.name(), credential.version(), decision);
  marks_.Given(credential);
}

absl::Duration CredentialService::TimeLeft(const grpc::CallbackServerContext& context) const {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return kWaitDefault;
  return std::clamp(absl::FromChrono(deadline) - clock_.WallNow(), absl::ZeroDuration(), kWaitMax);
}

grpc::ServerUnaryReactor* CredentialService::Get(grpc::CallbackServerContext* context,
                                                 const v1::GetRequest* request,
                                                 v1::GetResponse* response) {
  const std::string& name = request->name();
  authz::Decision decision;
  absl::Duration min_remaining = absl::ZeroDuration();
  absl::Status status = Authorize("Get", name, decision);
  if (status.ok()) status = MinRemaining(*request, min_remaining);
  if (!status.ok()) return Finish(context, status);

  v1::Credential& credential = *response->mutable_credential();
  const std::optional<absl::Status> answer = resolver_.TryGet(name, min_remaining, credential);
  if (!answer.has_value()) {
    return GetLater(context, name, min_remaining, std::move(decision), response);
  }
  if (answer->ok()) {
    Given("Get", credential, decision);
  } else {
    audit_.Failed("Get", name, *answer, decision);
  }
  return Finish(context, *answer);
}

grpc::ServerUnaryReactor* CredentialService::GetLater(grpc::CallbackServerContext* context,
                                                      const std::string& name,
                                                      absl::Duration min_remaining,
                                                      authz::Decision decision,
                                                      v1::GetResponse* response) {
  auto* call = new PendingCall;
  // `this` and `response` may be gone when the answer comes, unless it claims the call.
  resolver_.Await(name, min_remaining, TimeLeft(*context),
                  [this, name, decision = std::move(decision), response, handle = call->handle()](
                      absl::Status status, v1::Credential credential) {
                    if (!handle.Claim()) {
                      WipeSecrets(credential);
                      return;
                    }
                    if (status.ok()) {
                      Given("Get", credential, decision);
                      response->mutable_credential()->Swap(&credential);
                    } else {
                      audit_.Failed("Get", name, status, decision);
                    }
                    handle.Finish(ToGrpc(status));
                  });
  return call;
}

// The names of a batch that have to be waited for, and what came for them.
struct CredentialService::Batch {
  struct Waiting {
    int index;
    std::string name;
    authz::Decision decision;
    absl::Status status;
    v1::Credential credential;
  };
  ~Batch() {
    for (Waiting& waiting : all) WipeSecrets(waiting.credential);
  }
  std::vector<Waiting> all;
  std::atomic<size_t> open{0};
};

void CredentialService::FillResult(const absl::Status& status, const authz::Decision& decision,
                                   v1::Credential* credential, v1::BatchGetResult& result) {
  if (status.ok()) {
    Given("BatchGet", *credential, decision);
    result.mutable_credential()->Swap(credential);
  } else {
    // A denial is on record, and a name that is none was not looked for.
    if (decision.allowed) audit_.Failed("BatchGet", result.name(), status, decision);
    ToFailure(status, *result.mutable_failure());
  }
}

grpc::ServerUnaryReactor* CredentialService::BatchGet(grpc::CallbackServerContext* context,
                                                      const v1::BatchGetRequest* request,
                                                      v1::BatchGetResponse* response) {
  if (request->names().empty() || request->names_size() > kBatchMax) {
    return Finish(context,
                  absl::InvalidArgumentError(absl::StrCat("a batch holds 1 to ", kBatchMax,
                                                          " names, not ", request->names_size())));
  }
  auto batch = std::make_shared<Batch>();
  for (const std::string& name : request->names()) {
    v1::BatchGetResult& result = *response->add_results();
    result.set_name(name);
    authz::Decision decision;
    v1::Credential credential;
    std::optional<absl::Status> answer = Authorize("BatchGet", name, decision);
    if (answer->ok()) answer = resolver_.TryGet(name, absl::ZeroDuration(), credential);
    if (answer.has_value()) {
      FillResult(*answer, decision, &credential, result);
    } else {
      batch->all.push_back({response->results_size() - 1, name, std::move(decision), {}, {}});
    }
  }
  if (batch->all.empty()) return Finish(context, absl::OkStatus());

  auto* call = new PendingCall;
  const absl::Duration left = TimeLeft(*context);
  batch->open = batch->all.size();
  // By number: the last answer may come, and end the call, before this loop has ended.
  for (size_t i = 0, count = batch->all.size(); i < count; ++i) {
    resolver_.Await(batch->all[i].name, absl::ZeroDuration(), left,
                    [this, batch, i, response, handle = call->handle()](absl::Status status,
                                                                        v1::Credential credential) {
                      batch->all[i].status = std::move(status);
                      batch->all[i].credential.Swap(&credential);
                      if (batch->open.fetch_sub(1) != 1 || !handle.Claim()) return;
                      for (Batch::Waiting& waiting : batch->all) {
                        FillResult(waiting.status, waiting.decision, &waiting.credential,
                                   *response->mutable_results(waiting.index));
                      }
                      handle.Finish(grpc::Status());
                    });
  }
  return call;
}

grpc::ServerWriteReactor<v1::WatchResponse>* CredentialService::Watch(
    grpc::CallbackServerContext*, const v1::WatchRequest* request) {
  absl::Status status;
  if (request->names().empty() || request->names_size() > kBatchMax) {
    status = absl::InvalidArgumentError(
        absl::StrCat("a watch holds 1 to ", kBatchMax, " names, not ", request->names_size()));
  }
  for (const std::string& name : request->names()) {
    authz::Decision decision;
    if (status.ok()) status = Authorize("Watch", name, decision);
  }
  if (!status.ok()) return new RefusedStream<v1::WatchResponse>(ToGrpc(status));
  return WatchCall::Start(*this, *request);
}

// What a caller tells about a version that it was given.
template <class Response, class Start>
grpc::ServerUnaryReactor* CredentialService::Hear(grpc::CallbackServerContext* context,
                                                  const char* method, const std::string& name,
                                                  uint64_t version, Response* response,
                                                  Start start) {
  authz::Decision decision;
  const absl::Status allowed = Authorize(method, name, decision);
  if (!allowed.ok()) return Finish(context, allowed);
  auto* call = new PendingCall;
  // `this` and `response` may be gone when the answer comes, unless it claims the call.
  start([this, method, name, version, decision = std::move(decision), response,
         handle = call->handle()](absl::StatusOr<Response> answer) {
    if (!handle.Claim()) return;
    if (answer.ok()) {
      audit_.Heard(method, name, version, decision);
      response->Swap(&*answer);
    } else {
      audit_.Failed(method, name, answer.status(), decision);
    }
    handle.Finish(ToGrpc(answer.status()));
  });
  return call;
}

grpc::ServerUnaryReactor* CredentialService::Acknowledge(grpc::CallbackServerContext* context,
                                                         const v1::AcknowledgeRequest* request,
                                                         v1::AcknowledgeResponse* response) {
  return Hear(context, "Acknowledge", request->name(), request->version(), response,
              [&](auto answer) {
                lifecycle_.Acknowledge(policy_.principal_text(), *request, std::move(answer));
              });
}

grpc::ServerUnaryReactor* CredentialService::ReportRejected(
    grpc::CallbackServerContext* context, const v1::ReportRejectedRequest* request,
    v1::ReportRejectedResponse* response) {
  return Hear(context, "ReportRejected", request->name(), request->version(), response,
              [&](auto answer) {
                lifecycle_.ReportRejected(policy_.principal_text(), *request, std::move(answer));
              });
}

grpc::ServerUnaryReactor* CredentialService::WhoAmI(grpc::CallbackServerContext* context,
                                                    const v1::WhoAmIRequest*,
                                                    v1::WhoAmIResponse* response) {
  const authn::Principal& principal = policy_.principal();
  response->set_principal(policy_.principal_text());
  response->set_uid(principal.uid);
  response->set_gid(principal.gid);
  response->set_pid(principal.pid);
  response->set_user(principal.user);
  for (gid_t group : principal.groups) response->add_groups(group);
  response->set_admin(principal.admin_socket);
  for (const authz::CallerPolicy::Grant& grant : policy_.Grants()) {
    v1::WhoAmIResponse::Grant& out = *response->add_grants();
    out.set_policy(grant.policy);
    for (authz::Action action : grant.actions) out.add_actions(authz::ActionName(action));
    for (const std::string& glob : grant.globs) out.add_names(glob);
  }
  return Finish(context, absl::OkStatus());
}

}  // namespace keyturn::api

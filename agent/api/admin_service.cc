// SPDX-License-Identifier: Apache-2.0
#include "agent/api/admin_service.h"

#include <grpcpp/server_context.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/api/pending_call.h"
#include "agent/api/sent_stream.h"
#include "agent/api/status_mapping.h"
#include "agent/api/wiping_messages.h"
#include "agent/base/error.h"
#include "agent/base/ids.h"

namespace keyturn::api {
namespace {

constexpr bool kChange = true;
constexpr bool kLook = false;
// A rotation enters about ten states; retries add some.
constexpr size_t kStepsMax = 64;

uint64_t VersionOf(const v1::PutResponse& response) { return response.version(); }
uint64_t VersionOf(const v1::UndoResponse& response) { return response.version(); }
uint64_t VersionOf(const v1::RefreshResponse& response) { return response.version(); }
uint64_t VersionOf(const v1::FinishLoginResponse& response) { return response.version(); }
template <class Response>
uint64_t VersionOf(const Response&) {
  return 0;
}

}  // namespace

AdminService::AdminService(lifecycle::Lifecycle& lifecycle, audit::AuditSink& audit,
                           const AgentFacts& facts, ConnectionPolicy& policy)
    : lifecycle_(lifecycle), audit_(audit), facts_(facts), policy_(policy) {
  SetMessageAllocatorFor_Put(WipingMessages<v1::PutRequest, v1::PutResponse>::Instance());
  SetMessageAllocatorFor_FinishLogin(
      WipingMessages<v1::FinishLoginRequest, v1::FinishLoginResponse>::Instance());
}

absl::Status AdminService::Authorize(const char* method, absl::string_view name,
                                     audit::Event& event) {
  const absl::string_view asked = name.empty() ? "**" : name;
  const authz::Decision decision = policy_.Decide(authz::Action::kAdmin, asked);
  event.principal = policy_.principal_text();
  event.method = method;
  event.name = std::string(name);
  event.allowed = decision.allowed;
  event.rule = decision.rule;
  if (decision.allowed) return absl::OkStatus();
  event.rule = absl::StrCat("no policy allows admin on ", asked);
  event.result = absl::StatusCodeToString(absl::StatusCode::kPermissionDenied);
  audit_.Record(event);
  return Denied(policy_.principal_text(), authz::Action::kAdmin, asked);
}

absl::Status AdminService::AuthorizeNamed(const char* method, absl::string_view name,
                                          audit::Event& event) {
  if (absl::Status status = base::CheckName("name", name); !status.ok()) return status;
  return Authorize(method, name, event);
}

template <class Response, class Start>
grpc::ServerUnaryReactor* AdminService::Call(grpc::CallbackServerContext* context,
                                             const absl::Status& allowed, audit::Event event,
                                             bool is_change, Response* response, Start start) {
  if (!allowed.ok()) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(allowed));
    return reactor;
  }
  auto* call = new PendingCall;
  // Only the audit sink is sure to be there when the caller has left before the answer.
  start([&audit = audit_, event = std::move(event), is_change, response,
         handle = call->handle()](absl::StatusOr<Response> answer) mutable {
    if (is_change) {
      event.result = absl::StatusCodeToString(answer.status().code());
      if (answer.ok()) event.version = VersionOf(*answer);
      audit.Record(event);
    }
    if (!handle.Claim()) return;
    if (answer.ok()) response->Swap(&*answer);
    handle.Finish(ToGrpc(answer.status()));
  });
  return call;
}

grpc::ServerUnaryReactor* AdminService::Apply(grpc::CallbackServerContext* context,
                                              const v1::ApplyRequest* request,
                                              v1::ApplyResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("Apply", "", event);
  return Call(context, allowed, std::move(event), kChange, response, [&](auto answer) {
    lifecycle_.Apply(*request, /*dry_run=*/false, std::move(answer));
  });
}

grpc::ServerUnaryReactor* AdminService::Plan(grpc::CallbackServerContext* context,
                                             const v1::ApplyRequest* request,
                                             v1::ApplyResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("Plan", "", event);
  return Call(context, allowed, std::move(event), kLook, response, [&](auto answer) {
    lifecycle_.Apply(*request, /*dry_run=*/true, std::move(answer));
  });
}

grpc::ServerUnaryReactor* AdminService::Export(grpc::CallbackServerContext* context,
                                               const v1::ExportRequest*,
                                               v1::ExportResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("Export", "", event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.Export(std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::List(grpc::CallbackServerContext* context,
                                             const v1::ListRequest* request,
                                             v1::ListResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("List", "", event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.List(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Describe(grpc::CallbackServerContext* context,
                                                 const v1::DescribeRequest* request,
                                                 v1::DescribeResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("Describe", request->name(), event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.Describe(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Put(grpc::CallbackServerContext* context,
                                            const v1::PutRequest* request,
                                            v1::PutResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("Put", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.Put(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Delete(grpc::CallbackServerContext* context,
                                               const v1::DeleteRequest* request,
                                               v1::DeleteResponse* response) {
  audit::Event event;
  absl::Status allowed = base::CheckName("name", request->name());
  // Names in policies are those of credentials; other resources take power over everything.
  const bool is_credential = request->type() == "credential";
  if (allowed.ok()) allowed = Authorize("Delete", is_credential ? request->name() : "", event);
  event.name =
      is_credential ? request->name() : absl::StrCat(request->type(), " ", request->name());
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.Delete(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Refresh(grpc::CallbackServerContext* context,
                                                const v1::RefreshRequest* request,
                                                v1::RefreshResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("Refresh", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.Refresh(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Undo(grpc::CallbackServerContext* context,
                                             const v1::UndoRequest* request,
                                             v1::UndoResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("Undo", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.Undo(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Disown(grpc::CallbackServerContext* context,
                                               const v1::DisownRequest* request,
                                               v1::DisownResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("Disown", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.Disown(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::History(grpc::CallbackServerContext* context,
                                                const v1::HistoryRequest* request,
                                                v1::HistoryResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("History", request->name(), event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.History(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Calendar(grpc::CallbackServerContext* context,
                                                 const v1::CalendarRequest* request,
                                                 v1::CalendarResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("Calendar", "", event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.Calendar(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::ListRecipes(grpc::CallbackServerContext* context,
                                                    const v1::ListRecipesRequest*,
                                                    v1::ListRecipesResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("ListRecipes", "", event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.ListRecipes(std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::ShowRecipe(grpc::CallbackServerContext* context,
                                                   const v1::ShowRecipeRequest* request,
                                                   v1::ShowRecipeResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("ShowRecipe", "", event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.ShowRecipe(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::TestRecipe(grpc::CallbackServerContext* context,
                                                   const v1::TestRecipeRequest* request,
                                                   v1::TestRecipeResponse* response) {
  audit::Event event;
  // It sends values of credentials to wherever the caller says: that takes power over everything,
  // as declaring a provider does, and is recorded like a change.
  const absl::Status allowed = Authorize("TestRecipe", "", event);
  event.name = absl::StrCat("recipe ", absl::Utf8SafeCEscape(request->recipe().substr(0, 64)));
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.TestRecipe(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::StartLogin(grpc::CallbackServerContext* context,
                                                   const v1::StartLoginRequest* request,
                                                   v1::StartLoginResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("StartLogin", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.StartLogin(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::FinishLogin(grpc::CallbackServerContext* context,
                                                    const v1::FinishLoginRequest* request,
                                                    v1::FinishLoginResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("FinishLogin", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.FinishLogin(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Revoke(grpc::CallbackServerContext* context,
                                               const v1::RevokeRequest* request,
                                               v1::RevokeResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("Revoke", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.Revoke(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::TestCredential(grpc::CallbackServerContext* context,
                                                       const v1::TestCredentialRequest* request,
                                                       v1::TestCredentialResponse* response) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("TestCredential", request->name(), event);
  return Call(context, allowed, std::move(event), kChange, response,
              [&](auto answer) { lifecycle_.TestCredential(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::ListPresets(grpc::CallbackServerContext* context,
                                                    const v1::ListPresetsRequest*,
                                                    v1::ListPresetsResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("ListPresets", "", event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.ListPresets(std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::ShowPreset(grpc::CallbackServerContext* context,
                                                   const v1::ShowPresetRequest* request,
                                                   v1::ShowPresetResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("ShowPreset", "", event);
  return Call(context, allowed, std::move(event), kLook, response,
              [&](auto answer) { lifecycle_.ShowPreset(*request, std::move(answer)); });
}

grpc::ServerUnaryReactor* AdminService::Status(grpc::CallbackServerContext* context,
                                               const v1::StatusRequest*,
                                               v1::StatusResponse* response) {
  audit::Event event;
  const absl::Status allowed = Authorize("Status", "", event);
  return Call(context, allowed, std::move(event), kLook, response, [&](auto answer) {
    lifecycle_.Status([facts = facts_, answer = std::move(answer)](
                          absl::StatusOr<v1::StatusResponse> status) mutable {
      if (status.ok()) {
        status->set_version(KEYTURN_VERSION);
        status->set_store_path(facts.store_path);
        const timespec started = absl::ToTimespec(facts.started_at);
        status->mutable_started_at()->set_seconds(started.tv_sec);
        status->mutable_started_at()->set_nanos(static_cast<int32_t>(started.tv_nsec));
        if (facts.connections) {
          status->set_connections(static_cast<uint32_t>(facts.connections()));
        }
      }
      answer(std::move(status));
    });
  });
}

grpc::ServerWriteReactor<v1::RotateResponse>* AdminService::Rotate(
    grpc::CallbackServerContext*, const v1::RotateRequest* request) {
  audit::Event event;
  const absl::Status allowed = AuthorizeNamed("Rotate", request->name(), event);
  if (!allowed.ok()) return new RefusedStream<v1::RotateResponse>(ToGrpc(allowed));
  const auto stream = SentStream<v1::RotateResponse>::Begin(streams_, kStepsMax);
  if (stream == nullptr) return new RefusedStream<v1::RotateResponse>(ToGrpc(Stopping()));
  lifecycle_.Rotate(
      *request, [stream](v1::RotateResponse step) { stream->Send(std::move(step)); },
      [stream, &audit = audit_, event = std::move(event),
       is_change = !request->dry_run()](absl::Status status) mutable {
        // Recorded also when the caller has left.
        event.result = absl::StatusCodeToString(status.code());
        if (is_change) audit.Record(event);
        stream->EndWith(std::move(status));
      });
  return stream.get();
}

grpc::ServerWriteReactor<v1::BackupResponse>* AdminService::Backup(grpc::CallbackServerContext*,
                                                                   const v1::BackupRequest*) {
  audit::Event event;
  const absl::Status allowed = Authorize("Backup", "", event);
  if (!allowed.ok()) return new RefusedStream<v1::BackupResponse>(ToGrpc(allowed));
  const auto stream =
      SentStream<v1::BackupResponse>::Begin(streams_, std::numeric_limits<size_t>::max());
  if (stream == nullptr) return new RefusedStream<v1::BackupResponse>(ToGrpc(Stopping()));
  lifecycle_.Backup([stream, &audit = audit_, event = std::move(event)](
                        absl::StatusOr<std::vector<std::string>> pieces) mutable {
    event.result = absl::StatusCodeToString(pieces.status().code());
    audit.Record(event);
    if (pieces.ok()) {
      for (std::string& piece : *pieces) {
        v1::BackupResponse message;
        message.set_data(std::move(piece));
        stream->Send(std::move(message));
      }
    }
    stream->EndWith(pieces.status());
  });
  return stream.get();
}

}  // namespace keyturn::api

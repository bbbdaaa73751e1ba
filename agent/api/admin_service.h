// SPDX-License-Identifier: Apache-2.0
// keyturn.v1.Admin for the caller of one connection of the admin socket: asks policy, hands the
// request to the lifecycle, and records every change and every denial. A change that was begun goes
// on, and is recorded, when the caller leaves. Thread-safe.
#pragma once

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/api/connection_policy.h"
#include "agent/api/open_streams.h"
#include "agent/audit/audit_sink.h"
#include "agent/lifecycle/lifecycle.h"
#include "keyturn/v1/admin.grpc.pb.h"

namespace keyturn::api {

// What Status tells about the process itself.
struct AgentFacts {
  absl::Time started_at;
  std::string store_path;
  std::function<size_t()> connections;  // on both sockets
};

class AdminService final : public v1::Admin::CallbackService {
 public:
  // `lifecycle` and `audit` outlive every answer that the lifecycle still owes, also beyond this
  // object.
  AdminService(lifecycle::Lifecycle& lifecycle, audit::AuditSink& audit, const AgentFacts& facts,
               ConnectionPolicy& policy);

  // Open Rotate streams end with UNAVAILABLE; the rotations go on.
  void EndStreams() { streams_.EndAll(); }

  grpc::ServerUnaryReactor* Apply(grpc::CallbackServerContext* context,
                                  const v1::ApplyRequest* request,
                                  v1::ApplyResponse* response) override;
  grpc::ServerUnaryReactor* Plan(grpc::CallbackServerContext* context,
                                 const v1::ApplyRequest* request,
                                 v1::ApplyResponse* response) override;
  grpc::ServerUnaryReactor* Export(grpc::CallbackServerContext* context,
                                   const v1::ExportRequest* request,
                                   v1::ExportResponse* response) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::ListRequest* request,
                                 v1::ListResponse* response) override;
  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const v1::DescribeRequest* request,
                                     v1::DescribeResponse* response) override;
  grpc::ServerUnaryReactor* Put(grpc::CallbackServerContext* context, const v1::PutRequest* request,
                                v1::PutResponse* response) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const v1::DeleteRequest* request,
                                   v1::DeleteResponse* response) override;
  grpc::ServerUnaryReactor* Refresh(grpc::CallbackServerContext* context,
                                    const v1::RefreshRequest* request,
                                    v1::RefreshResponse* response) override;
  grpc::ServerUnaryReactor* History(grpc::CallbackServerContext* context,
                                    const v1::HistoryRequest* request,
                                    v1::HistoryResponse* response) override;
  grpc::ServerUnaryReactor* Calendar(grpc::CallbackServerContext* context,
                                     const v1::CalendarRequest* request,
                                     v1::CalendarResponse* response) override;
  grpc::ServerUnaryReactor* ListRecipes(grpc::CallbackServerContext* context,
                                        const v1::ListRecipesRequest* request,
                                        v1::ListRecipesResponse* response) override;
  grpc::ServerUnaryReactor* ShowRecipe(grpc::CallbackServerContext* context,
                                       const v1::ShowRecipeRequest* request,
                                       v1::ShowRecipeResponse* response) override;
  grpc::ServerUnaryReactor* TestRecipe(grpc::CallbackServerContext* context,
                                       const v1::TestRecipeRequest* request,
                                       v1::TestRecipeResponse* response) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const v1::StatusRequest* request,
                                   v1::StatusResponse* response) override;
  grpc::ServerUnaryReactor* StartLogin(grpc::CallbackServerContext* context,
                                       const v1::StartLoginRequest* request,
                                       v1::StartLoginResponse* response) override;
  grpc::ServerUnaryReactor* FinishLogin(grpc::CallbackServerContext* context,
                                        const v1::FinishLoginRequest* request,
                                        v1::FinishLoginResponse* response) override;
  grpc::ServerUnaryReactor* Revoke(grpc::CallbackServerContext* context,
                                   const v1::RevokeRequest* request,
                                   v1::RevokeResponse* response) override;
  grpc::ServerUnaryReactor* TestCredential(grpc::CallbackServerContext* context,
                                           const v1::TestCredentialRequest* request,
                                           v1::TestCredentialResponse* response) override;
  grpc::ServerUnaryReactor* ListPresets(grpc::CallbackServerContext* context,
                                        const v1::ListPresetsRequest* request,
                                        v1::ListPresetsResponse* response) override;
  grpc::ServerUnaryReactor* ShowPreset(grpc::CallbackServerContext* context,
                                       const v1::ShowPresetRequest* request,
                                       v1::ShowPresetResponse* response) override;
  grpc::ServerUnaryReactor* Undo(grpc::CallbackServerContext* context,
                                 const v1::UndoRequest* request,
                                 v1::UndoResponse* response) override;
  grpc::ServerUnaryReactor* Disown(grpc::CallbackServerContext* context,
                                   const v1::DisownRequest* request,
                                   v1::DisownResponse* response) override;
  grpc::ServerWriteReactor<v1::BackupResponse>* Backup(grpc::CallbackServerContext* context,
                                                       const v1::BackupRequest* request) override;
  grpc::ServerWriteReactor<v1::RotateResponse>* Rotate(grpc::CallbackServerContext* context,
                                                       const v1::RotateRequest* request) override;

 private:
  // OK with `event` ready to be completed, or why the caller may not; records a denial. An empty
  // name stands for the agent as a whole.
  absl::Status Authorize(const char* method, absl::string_view name, audit::Event& event);
  absl::Status AuthorizeNamed(const char* method, absl::string_view name, audit::Event& event);

  // Runs `start(answer)` when `allowed` is OK. The answer becomes the response; with `is_change` it
  // is recorded.
  template <class Response, class Start>
  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context, const absl::Status& allowed,
                                 audit::Event event, bool is_change, Response* response,
                                 Start start);

  lifecycle::Lifecycle& lifecycle_;
  audit::AuditSink& audit_;
  const AgentFacts& facts_;
  ConnectionPolicy& policy_;
  OpenStreams streams_;
};

}  // namespace keyturn::api

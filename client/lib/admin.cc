// SPDX-License-Identifier: Apache-2.0
// The AdminClient over one Connection. Calls that only read are made again when they were cut off;
// calls that change something are not: they may have taken effect.
#include "client/lib/admin.h"

#include <utility>

#include "client/lib/connection.h"
#include "keyturn/v1/admin.grpc.pb.h"

namespace keyturn::client {
namespace {

constexpr bool kReads = true;
constexpr bool kChanges = false;

class SocketAdminClient final : public AdminClient {
 public:
  explicit SocketAdminClient(std::unique_ptr<Connection> connection)
      : connection_(std::move(connection)), stub_(v1::Admin::NewStub(connection_->channel())) {}

  absl::StatusOr<v1::ApplyResponse> Apply(const v1::ApplyRequest& request,
                                          absl::Duration timeout) override {
    return Call<v1::ApplyResponse>(&v1::Admin::Stub::Apply, request, timeout, kChanges);
  }
  absl::StatusOr<v1::ApplyResponse> Plan(const v1::ApplyRequest& request,
                                         absl::Duration timeout) override {
    return Call<v1::ApplyResponse>(&v1::Admin::Stub::Plan, request, timeout, kReads);
  }
  absl::StatusOr<v1::ExportResponse> Export(absl::Duration timeout) override {
    return Call<v1::ExportResponse>(&v1::Admin::Stub::Export, v1::ExportRequest(), timeout, kReads);
  }
  absl::StatusOr<v1::ListResponse> List(const v1::ListRequest& request,
                                        absl::Duration timeout) override {
    return Call<v1::ListResponse>(&v1::Admin::Stub::List, request, timeout, kReads);
  }
  absl::StatusOr<v1::DescribeResponse> Describe(const v1::DescribeRequest& request,
                                                absl::Duration timeout) override {
    return Call<v1::DescribeResponse>(&v1::Admin::Stub::Describe, request, timeout, kReads);
  }
  absl::StatusOr<v1::PutResponse> Put(const v1::PutRequest& request,
                                      absl::Duration timeout) override {
    return Call<v1::PutResponse>(&v1::Admin::Stub::Put, request, timeout, kChanges);
  }
  absl::StatusOr<v1::DeleteResponse> Delete(const v1::DeleteRequest& request,
                                            absl::Duration timeout) override {
    return Call<v1::DeleteResponse>(&v1::Admin::Stub::Delete, request, timeout, kChanges);
  }
  absl::Status Rotate(const v1::RotateRequest& request, absl::Duration timeout,
                      const std::function<void(const v1::RotateResponse&)>& step) override {
    return ReadAll<v1::RotateResponse>(&v1::Admin::Stub::Rotate, request, timeout, step);
  }
  absl::Status Backup(absl::Duration timeout,
                      const std::function<void(const std::string&)>& piece) override {
    return ReadAll<v1::BackupResponse>(
        &v1::Admin::Stub::Backup, v1::BackupRequest(), timeout,
        [&](const v1::BackupResponse& response) { piece(response.data()); });
  }
  absl::StatusOr<v1::RefreshResponse> Refresh(const v1::RefreshRequest& request,
                                              absl::Duration timeout) override {
    return Call<v1::RefreshResponse>(&v1::Admin::Stub::Refresh, request, timeout, kChanges);
  }
  absl::StatusOr<v1::UndoResponse> Undo(const v1::UndoRequest& request,
                                        absl::Duration timeout) override {
    return Call<v1::UndoResponse>(&v1::Admin::Stub::Undo, request, timeout, kChanges);
  }
  absl::StatusOr<v1::DisownResponse> Disown(const v1::DisownRequest& request,
                                            absl::Duration timeout) override {
    return Call<v1::DisownResponse>(&v1::Admin::Stub::Disown, request, timeout, kChanges);
  }
  absl::StatusOr<v1::HistoryResponse> History(const v1::HistoryRequest& request,
                                              absl::Duration timeout) override {
    return Call<v1::HistoryResponse>(&v1::Admin::Stub::History, request, timeout, kReads);
  }
  absl::StatusOr<v1::CalendarResponse> Calendar(const v1::CalendarRequest& request,
                                                absl::Duration timeout) override {
    return Call<v1::CalendarResponse>(&v1::Admin::Stub::Calendar, request, timeout, kReads);
  }
  absl::StatusOr<v1::ListRecipesResponse> ListRecipes(absl::Duration timeout) override {
    return Call<v1::ListRecipesResponse>(&v1::Admin::Stub::ListRecipes, v1::ListRecipesRequest(),
                                         timeout, kReads);
  }
  absl::StatusOr<v1::ShowRecipeResponse> ShowRecipe(const v1::ShowRecipeRequest& request,
                                                    absl::Duration timeout) override {
    return Call<v1::ShowRecipeResponse>(&v1::Admin::Stub::ShowRecipe, request, timeout, kReads);
  }
  absl::StatusOr<v1::TestRecipeResponse> TestRecipe(const v1::TestRecipeRequest& request,
                                                    absl::Duration timeout) override {
    return Call<v1::TestRecipeResponse>(&v1::Admin::Stub::TestRecipe, request, timeout, kReads);
  }
  absl::StatusOr<v1::StartLoginResponse> StartLogin(const v1::StartLoginRequest& request,
                                                    absl::Duration timeout) override {
    return Call<v1::StartLoginResponse>(&v1::Admin::Stub::StartLogin, request, timeout, kChanges);
  }
  absl::StatusOr<v1::FinishLoginResponse> FinishLogin(const v1::FinishLoginRequest& request,
                                                      absl::Duration timeout) override {
    return Call<v1::FinishLoginResponse>(&v1::Admin::Stub::FinishLogin, request, timeout, kChanges);
  }
  absl::StatusOr<v1::RevokeResponse> Revoke(const v1::RevokeRequest& request,
                                            absl::Duration timeout) override {
    return Call<v1::RevokeResponse>(&v1::Admin::Stub::Revoke, request, timeout, kChanges);
  }
  absl::StatusOr<v1::TestCredentialResponse> TestCredential(
      const v1::TestCredentialRequest& request, absl::Duration timeout) override {
    return Call<v1::TestCredentialResponse>(&v1::Admin::Stub::TestCredential, request, timeout,
                                            kReads);
  }
  absl::StatusOr<v1::ListPresetsResponse> ListPresets(absl::Duration timeout) override {
    return Call<v1::ListPresetsResponse>(&v1::Admin::Stub::ListPresets, v1::ListPresetsRequest(),
                                         timeout, kReads);
  }
  absl::StatusOr<v1::ShowPresetResponse> ShowPreset(const v1::ShowPresetRequest& request,
                                                    absl::Duration timeout) override {
    return Call<v1::ShowPresetResponse>(&v1::Admin::Stub::ShowPreset, request, timeout, kReads);
  }
  absl::StatusOr<v1::StatusResponse> Status(absl::Duration timeout) override {
    return Call<v1::StatusResponse>(&v1::Admin::Stub::Status, v1::StatusRequest(), timeout, kReads);
  }

 private:
  template <typename Reply, typename Request>
  absl::StatusOr<Reply> Call(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                     const Request&, Reply*),
                             const Request& request, absl::Duration timeout, bool repeatable) {
    return connection_->Call<Reply>(timeout, repeatable,
                                    [&](grpc::ClientContext* context, Reply* reply) {
                                      return (stub_.get()->*method)(context, request, reply);
                                    });
  }

  // Of a call that answers with a stream.
  template <typename Reply, typename Request>
  absl::Status ReadAll(std::unique_ptr<grpc::ClientReader<Reply>> (v1::Admin::Stub::*method)(
                           grpc::ClientContext*, const Request&),
                       const Request& request, absl::Duration timeout,
                       const std::function<void(const Reply&)>& take) {
    const absl::Time deadline = absl::Now() + timeout;
    if (absl::Status connected = connection_->EnsureConnected(deadline); !connected.ok()) {
      return connected;
    }
    grpc::ClientContext context;
    Connection::Prepare(context, deadline);
    const auto reader = (stub_.get()->*method)(&context, request);
    Reply reply;
    while (reader->Read(&reply)) take(reply);
    return connection_->Explain(FromGrpc(reader->Finish()));
  }

  const std::unique_ptr<Connection> connection_;
  const std::unique_ptr<v1::Admin::Stub> stub_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminClient>> AdminClient::Make(std::string socket_path) {
  auto connection = Connection::Make(std::move(socket_path), absl::ZeroDuration());
  if (!connection.ok()) return connection.status();
  return std::make_unique<SocketAdminClient>(*std::move(connection));
}

}  // namespace keyturn::client

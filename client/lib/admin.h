// SPDX-License-Identifier: Apache-2.0
// AdminClient: the Admin service as the command line uses it, one method per call. Private to this
// tree: administrators script the command line, services use client.h. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "keyturn/v1/admin.pb.h"

namespace keyturn::client {

class AdminClient {
 public:
  // Does not connect yet. An agent that is not there fails a call at once; a busy one is waited
  // for.
  static absl::StatusOr<std::unique_ptr<AdminClient>> Make(std::string socket_path);

  virtual ~AdminClient() = default;

  virtual absl::StatusOr<v1::ApplyResponse> Apply(const v1::ApplyRequest& request,
                                                  absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::ApplyResponse> Plan(const v1::ApplyRequest& request,
                                                 absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::ExportResponse> Export(absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::ListResponse> List(const v1::ListRequest& request,
                                                absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::DescribeResponse> Describe(const v1::DescribeRequest& request,
                                                        absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::PutResponse> Put(const v1::PutRequest& request,
                                              absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::DeleteResponse> Delete(const v1::DeleteRequest& request,
                                                    absl::Duration timeout) = 0;
  // `step` runs on the calling thread for each state entered.
  // `piece` is called for each part of the backup in its order; it is whole only if this is OK.
  virtual absl::Status Backup(absl::Duration timeout,
                              const std::function<void(const std::string&)>& piece) = 0;
  virtual absl::Status Rotate(const v1::RotateRequest& request, absl::Duration timeout,
                              const std::function<void(const v1::RotateResponse&)>& step) = 0;
  virtual absl::StatusOr<v1::RefreshResponse> Refresh(const v1::RefreshRequest& request,
                                                      absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::UndoResponse> Undo(const v1::UndoRequest& request,
                                                absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::DisownResponse> Disown(const v1::DisownRequest& request,
                                                    absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::HistoryResponse> History(const v1::HistoryRequest& request,
                                                      absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::CalendarResponse> Calendar(const v1::CalendarRequest& request,
                                                        absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::ListRecipesResponse> ListRecipes(absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::ShowRecipeResponse> ShowRecipe(const v1::ShowRecipeRequest& request,
                                                            absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::TestRecipeResponse> TestRecipe(const v1::TestRecipeRequest& request,
                                                            absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::StartLoginResponse> StartLogin(const v1::StartLoginRequest& request,
                                                            absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::FinishLoginResponse> FinishLogin(const v1::FinishLoginRequest& request,
                                                              absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::RevokeResponse> Revoke(const v1::RevokeRequest& request,
                                                    absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::TestCredentialResponse> TestCredential(
      const v1::TestCredentialRequest& request, absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::ListPresetsResponse> ListPresets(absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::ShowPresetResponse> ShowPreset(const v1::ShowPresetRequest& request,
                                                            absl::Duration timeout) = 0;
  virtual absl::StatusOr<v1::StatusResponse> Status(absl::Duration timeout) = 0;
};

}  // namespace keyturn::client

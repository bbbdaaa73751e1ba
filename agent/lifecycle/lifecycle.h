// SPDX-License-Identifier: Apache-2.0
// What the API asks of the lifecycle. All calls are thread-safe and return at once; answers
// come through `done`, exactly once, on the lifecycle's executor. Authorization is the caller's
// business. Errors carry a reason (base/error.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "agent/lifecycle/consumers.h"
#include "agent/lifecycle/freshness.h"
#include "keyturn/v1/admin.pb.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::lifecycle {

template <class T>
using Answer = absl::AnyInvocable<void(absl::StatusOr<T>)>;

class Lifecycle : public Freshness {
 public:
  // An API key was handed out. Cheap: the rest happens later, on the executor.
  virtual void Given(const Delivery& delivery) = 0;
  // INVALID_ARGUMENT for a version that nobody can have been given.
  virtual void Acknowledge(std::string principal, v1::AcknowledgeRequest request,
                           Answer<v1::AcknowledgeResponse> done) = 0;

  virtual void Apply(v1::ApplyRequest request, bool dry_run, Answer<v1::ApplyResponse> done) = 0;
  virtual void Export(Answer<v1::ExportResponse> done) = 0;
  virtual void List(v1::ListRequest request, Answer<v1::ListResponse> done) = 0;
  virtual void Describe(v1::DescribeRequest request, Answer<v1::DescribeResponse> done) = 0;
  // Wipes the request's field values before `done`.
  virtual void Put(v1::PutRequest request, Answer<v1::PutResponse> done) = 0;
  virtual void Delete(v1::DeleteRequest request, Answer<v1::DeleteResponse> done) = 0;
  virtual void Refresh(v1::RefreshRequest request, Answer<v1::RefreshResponse> done) = 0;
  virtual void History(v1::HistoryRequest request, Answer<v1::HistoryResponse> done) = 0;
  virtual void Undo(v1::UndoRequest request, Answer<v1::UndoResponse> done) = 0;
  virtual void Disown(v1::DisownRequest request, Answer<v1::DisownResponse> done) = 0;
  // The whole store as it is now, in pieces to be put behind one another.
  virtual void Backup(Answer<std::vector<std::string>> done) = 0;
  // All of StatusResponse but version, started_at, connections and store_path.
  virtual void Status(Answer<v1::StatusResponse> done) = 0;
  virtual void ListRecipes(Answer<v1::ListRecipesResponse> done) = 0;
  // NO_SUCH_RECIPE.
  virtual void ShowRecipe(v1::ShowRecipeRequest request, Answer<v1::ShowRecipeResponse> done) = 0;
  // Makes the calls that change nothing. Sends the named credentials' values to the endpoint named.
  virtual void TestRecipe(v1::TestRecipeRequest request, Answer<v1::TestRecipeResponse> done) = 0;

  virtual void StartLogin(v1::StartLoginRequest request, Answer<v1::StartLoginResponse> done) = 0;
  // For the device flow `done` comes when the person has decided or the code ran out.
  virtual void FinishLogin(v1::FinishLoginRequest request,
                           Answer<v1::FinishLoginResponse> done) = 0;
  virtual void Revoke(v1::RevokeRequest request, Answer<v1::RevokeResponse> done) = 0;
  virtual void TestCredential(v1::TestCredentialRequest request,
                              Answer<v1::TestCredentialResponse> done) = 0;
  virtual void ListPresets(Answer<v1::ListPresetsResponse> done) = 0;
  // NO_SUCH_PRESET.
  virtual void ShowPreset(v1::ShowPresetRequest request, Answer<v1::ShowPresetResponse> done) = 0;
  // RESOURCE_EXHAUSTED when the principal reports too often.
  virtual void ReportRejected(std::string principal, v1::ReportRejectedRequest request,
                              Answer<v1::ReportRejectedResponse> done) = 0;

  virtual void Calendar(v1::CalendarRequest request, Answer<v1::CalendarResponse> done) = 0;

  // `step` for each state the rotation enters, then `done`: OK when the new key is handed out (or,
  // with wait_until_done, the old one is revoked), else why the rotation ended without that.
  // With dry_run: `step` for each call that the rotation would make, and nothing else happens.
  using Step = absl::AnyInvocable<void(v1::RotateResponse)>;
  virtual void Rotate(v1::RotateRequest request, Step step,
                      absl::AnyInvocable<void(absl::Status)> done) = 0;
};

}  // namespace keyturn::lifecycle

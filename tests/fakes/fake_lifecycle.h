// SPDX-License-Identifier: Apache-2.0
// FakeLifecycle: answers what the API asks on an executor of the test's. A refresh flight ends when
// the test says so; admin calls answer at once, or, while held, when the test lets them. Remembers
// the requests. Thread-safe.
#pragma once

#include <deque>
#include <list>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/executor.h"
#include "agent/lifecycle/lifecycle.h"

namespace keyturn::fakes {

class FakeLifecycle : public lifecycle::Lifecycle {
 public:
  explicit FakeLifecycle(base::Executor& executor) : executor_(executor) {}

  // --- For the test.
  // Blocks until `count` callers wait for a refresh of `name`.
  void AwaitWaiters(const std::string& name, size_t count);
  // Ends the flight: everyone who waits gets `status`.
  void EndFlight(const std::string& name, const absl::Status& status);
  // From now on admin calls wait for Let(); AwaitHeld blocks until `count` of them do.
  void Hold();
  void AwaitHeld(size_t count);
  void Let();
  // What admin calls answer from now on instead of success.
  void FailWith(absl::Status status);
  // NAME of each admin call that arrived, such as "Put a/b".
  std::vector<std::string> calls() const;
  // The value of the first field of the last Put.
  std::string last_put_value() const;

  // Of all deliveries so far, in their order.
  std::vector<lifecycle::Delivery> deliveries() const;
  // Blocks until there are `count` of them.
  void AwaitDeliveries(size_t count);

  // --- lifecycle::Lifecycle
  void Given(const lifecycle::Delivery& delivery) override;
  // Answers that the current version is 9.
  void Acknowledge(std::string principal, v1::AcknowledgeRequest request,
                   lifecycle::Answer<v1::AcknowledgeResponse> done) override;
  void EnsureFresh(std::string name, absl::Duration timeout, Done done) override;
  void Apply(v1::ApplyRequest request, bool dry_run,
             lifecycle::Answer<v1::ApplyResponse> done) override;
  void Export(lifecycle::Answer<v1::ExportResponse> done) override;
  void List(v1::ListRequest request, lifecycle::Answer<v1::ListResponse> done) override;
  void Describe(v1::DescribeRequest request, lifecycle::Answer<v1::DescribeResponse> done) override;
  void Put(v1::PutRequest request, lifecycle::Answer<v1::PutResponse> done) override;
  void Delete(v1::DeleteRequest request, lifecycle::Answer<v1::DeleteResponse> done) override;
  void Refresh(v1::RefreshRequest request, lifecycle::Answer<v1::RefreshResponse> done) override;
  void History(v1::HistoryRequest request, lifecycle::Answer<v1::HistoryResponse> done) override;
  void Undo(v1::UndoRequest request, lifecycle::Answer<v1::UndoResponse> done) override;
  void Disown(v1::DisownRequest request, lifecycle::Answer<v1::DisownResponse> done) override;
  void Backup(lifecycle::Answer<std::vector<std::string>> done) override;
  void Status(lifecycle::Answer<v1::StatusResponse> done) override;
  void Calendar(v1::CalendarRequest request, lifecycle::Answer<v1::CalendarResponse> done) override;
  void ListRecipes(lifecycle::Answer<v1::ListRecipesResponse> done) override;
  void ShowRecipe(v1::ShowRecipeRequest request,
                  lifecycle::Answer<v1::ShowRecipeResponse> done) override;
  void TestRecipe(v1::TestRecipeRequest request,
                  lifecycle::Answer<v1::TestRecipeResponse> done) override;
  void StartLogin(v1::StartLoginRequest request,
                  lifecycle::Answer<v1::StartLoginResponse> done) override;
  void FinishLogin(v1::FinishLoginRequest request,
                   lifecycle::Answer<v1::FinishLoginResponse> done) override;
  void Revoke(v1::RevokeRequest request, lifecycle::Answer<v1::RevokeResponse> done) override;
  void TestCredential(v1::TestCredentialRequest request,
                      lifecycle::Answer<v1::TestCredentialResponse> done) override;
  void ListPresets(lifecycle::Answer<v1::ListPresetsResponse> done) override;
  void ShowPreset(v1::ShowPresetRequest request,
                  lifecycle::Answer<v1::ShowPresetResponse> done) override;
  // Answers that the current version is 9.
  void ReportRejected(std::string principal, v1::ReportRejectedRequest request,
                      lifecycle::Answer<v1::ReportRejectedResponse> done) override;
  // Enters creating, verifying, promoted.
  void Rotate(v1::RotateRequest request, Step step,
              absl::AnyInvocable<void(absl::Status)> done) override;

 private:
  struct Waiter {
    uint64_t id;
    std::string name;
    Done done;
  };
  using Task = absl::AnyInvocable<void()>;

  void Arrived(std::string call, Task answer);
  absl::Status error() const;
  template <class Response>
  void Answer(std::string call, Response response, lifecycle::Answer<Response> done);

  base::Executor& executor_;
  mutable absl::Mutex mu_;
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::list<Waiter> waiters_ ABSL_GUARDED_BY(mu_);
  bool is_holding_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Task> held_ ABSL_GUARDED_BY(mu_);
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mu_);
  std::vector<lifecycle::Delivery> deliveries_ ABSL_GUARDED_BY(mu_);
  std::string last_put_value_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::fakes

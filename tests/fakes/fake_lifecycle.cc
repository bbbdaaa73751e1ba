// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_lifecycle.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keyturn::fakes {

void FakeLifecycle::AwaitWaiters(const std::string& name, size_t count) {
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return static_cast<size_t>(std::count_if(waiters_.begin(), waiters_.end(),
                                             [&](const Waiter& w) { return w.name == name; })) >=
           count;
  };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&there));
}

void FakeLifecycle::EndFlight(const std::string& name, const absl::Status& status) {
  std::list<Waiter> told;
  absl::MutexLock lock(&mu_);
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    const auto here = it++;
    if (here->name == name) told.splice(told.end(), waiters_, here);
  }
  executor_.Post([told = std::move(told), status]() mutable {
    for (Waiter& waiter : told) waiter.done(status);
  });
}

void FakeLifecycle::Hold() {
  absl::MutexLock lock(&mu_);
  is_holding_ = true;
}

void FakeLifecycle::AwaitHeld(size_t count) {
  const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return held_.size() >= count; };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&there));
}

void FakeLifecycle::Let() {
  std::deque<Task> held;
  {
    absl::MutexLock lock(&mu_);
    is_holding_ = false;
    held.swap(held_);
  }
  for (Task& task : held) executor_.Post(std::move(task));
}

void FakeLifecycle::FailWith(absl::Status status) {
  absl::MutexLock lock(&mu_);
  error_ = std::move(status);
}

absl::Status FakeLifecycle::error() const {
  absl::MutexLock lock(&mu_);
  return error_;
}

std::vector<std::string> FakeLifecycle::calls() const {
  absl::MutexLock lock(&mu_);
  return calls_;
}

std::string FakeLifecycle::last_put_value() const {
  absl::MutexLock lock(&mu_);
  return last_put_value_;
}

std::vector<lifecycle::Delivery> FakeLifecycle::deliveries() const {
  absl::MutexLock lock(&mu_);
  return deliveries_;
}

void FakeLifecycle::AwaitDeliveries(size_t count) {
  const auto there = [&]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return deliveries_.size() >= count; };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&there));
}

void FakeLifecycle::Given(const lifecycle::Delivery& delivery) {
  absl::MutexLock lock(&mu_);
  deliveries_.push_back(delivery);
}

void FakeLifecycle::Acknowledge(std::string principal, v1::AcknowledgeRequest request,
                                lifecycle::Answer<v1::AcknowledgeResponse> done) {
  v1::AcknowledgeResponse response;
  response.set_current_version(9);
  Answer(absl::StrCat("Acknowledge ", request.name(), " ", request.version(), " ", principal),
         std::move(response), std::move(done));
}

void FakeLifecycle::EnsureFresh(std::string name, absl::Duration timeout, Done done) {
  absl::MutexLock lock(&mu_);
  const uint64_t id = next_id_++;
  waiters_.push_back({id, std::move(name), std::move(done)});
  executor_.After(timeout, [this, id] {
    std::list<Waiter> late;
    {
      absl::MutexLock again(&mu_);
      const auto found = std::find_if(waiters_.begin(), waiters_.end(),
                                      [&](const Waiter& waiter) { return waiter.id == id; });
      if (found != waiters_.end()) late.splice(late.end(), waiters_, found);
    }
    for (Waiter& waiter : late) waiter.done(absl::DeadlineExceededError("the refresh goes on"));
  });
}

void FakeLifecycle::Arrived(std::string call, Task answer) {
  {
    absl::MutexLock lock(&mu_);
    calls_.push_back(std::move(call));
    if (is_holding_) {
      held_.push_back(std::move(answer));
      return;
    }
  }
  executor_.Post(std::move(answer));
}

template <class Response>
void FakeLifecycle::Answer(std::string call, Response response, lifecycle::Answer<Response> done) {
  Arrived(std::move(call),
          [this, response = std::move(response), done = std::move(done)]() mutable {
            const absl::Status status = error();
            if (status.ok()) {
              done(std::move(response));
            } else {
              done(status);
            }
          });
}

void FakeLifecycle::Apply(v1::ApplyRequest, bool dry_run,
                          lifecycle::Answer<v1::ApplyResponse> done) {
  Answer(dry_run ? "Plan" : "Apply", v1::ApplyResponse(), std::move(done));
}
void FakeLifecycle::Export(lifecycle::Answer<v1::ExportResponse> done) {
  v1::ExportResponse response;
  response.set_yaml("credentials: {}\n");
  Answer("Export", std::move(response), std::move(done));
}
void FakeLifecycle::List(v1::ListRequest, lifecycle::Answer<v1::ListResponse> done) {
  v1::ListResponse response;
  response.add_credentials()->set_name("a/b");
  Answer("List", std::move(response), std::move(done));
}
void FakeLifecycle::Describe(v1::DescribeRequest request,
                             lifecycle::Answer<v1::DescribeResponse> done) {
  v1::DescribeResponse response;
  response.mutable_summary()->set_name(request.name());
  Answer(absl::StrCat("Describe ", request.name()), std::move(response), std::move(done));
}
void FakeLifecycle::Put(v1::PutRequest request, lifecycle::Answer<v1::PutResponse> done) {
  v1::PutResponse response;
  response.set_version(7);
  {
    absl::MutexLock lock(&mu_);
    if (request.fields_size() > 0) last_put_value_ = request.fields(0).value();
  }
  Answer(absl::StrCat("Put ", request.name()), std::move(response), std::move(done));
}
void FakeLifecycle::Delete(v1::DeleteRequest request, lifecycle::Answer<v1::DeleteResponse> done) {
  Answer(absl::StrCat("Delete ", request.name()), v1::DeleteResponse(), std::move(done));
}
void FakeLifecycle::Refresh(v1::RefreshRequest request,
                            lifecycle::Answer<v1::RefreshResponse> done) {
  v1::RefreshResponse response;
  response.set_version(3);
  Answer(absl::StrCat("Refresh ", request.name()), std::move(response), std::move(done));
}
void FakeLifecycle::ListRecipes(lifecycle::Answer<v1::ListRecipesResponse> done) {
  Answer("ListRecipes", v1::ListRecipesResponse(), std::move(done));
}

void FakeLifecycle::ShowRecipe(v1::ShowRecipeRequest request,
                               lifecycle::Answer<v1::ShowRecipeResponse> done) {
  Answer(absl::StrCat("ShowRecipe ", request.name()), v1::ShowRecipeResponse(), std::move(done));
}

void FakeLifecycle::TestRecipe(v1::TestRecipeRequest request,
                               lifecycle::Answer<v1::TestRecipeResponse> done) {
  Answer(absl::StrCat("TestRecipe ", request.recipe()), v1::TestRecipeResponse(), std::move(done));
}

void FakeLifecycle::StartLogin(v1::StartLoginRequest request,
                               lifecycle::Answer<v1::StartLoginResponse> done) {
  v1::StartLoginResponse response;
  response.set_login_id("login-1");
  Answer(absl::StrCat("StartLogin ", request.name()), std::move(response), std::move(done));
}
void FakeLifecycle::FinishLogin(v1::FinishLoginRequest request,
                                lifecycle::Answer<v1::FinishLoginResponse> done) {
  v1::FinishLoginResponse response;
  response.set_version(1);
  Answer(absl::StrCat("FinishLogin ", request.name(), " ", request.login_id()), std::move(response),
         std::move(done));
}
void FakeLifecycle::Revoke(v1::RevokeRequest request, lifecycle::Answer<v1::RevokeResponse> done) {
  Answer(absl::StrCat("Revoke ", request.name()), v1::RevokeResponse(), std::move(done));
}
void FakeLifecycle::TestCredential(v1::TestCredentialRequest request,
                                   lifecycle::Answer<v1::TestCredentialResponse> done) {
  v1::TestCredentialResponse response;
  response.set_outcome("accepted");
  Answer(absl::StrCat("TestCredential ", request.name()), std::move(response), std::move(done));
}
void FakeLifecycle::ListPresets(lifecycle::Answer<v1::ListPresetsResponse> done) {
  Answer("ListPresets", v1::ListPresetsResponse(), std::move(done));
}
void FakeLifecycle::ShowPreset(v1::ShowPresetRequest request,
                               lifecycle::Answer<v1::ShowPresetResponse> done) {
  Answer(absl::StrCat("ShowPreset ", request.name()), v1::ShowPresetResponse(), std::move(done));
}
void FakeLifecycle::ReportRejected(std::string principal, v1::ReportRejectedRequest request,
                                   lifecycle::Answer<v1::ReportRejectedResponse> done) {
  v1::ReportRejectedResponse response;
  response.set_current_version(9);
  Answer(absl::StrCat("ReportRejected ", request.name(), " ", request.version(), " ", principal),
         std::move(response), std::move(done));
}

void FakeLifecycle::History(v1::HistoryRequest request,
                            lifecycle::Answer<v1::HistoryResponse> done) {
  Answer(absl::StrCat("History ", request.name()), v1::HistoryResponse(), std::move(done));
}
void FakeLifecycle::Undo(v1::UndoRequest request, lifecycle::Answer<v1::UndoResponse> done) {
  v1::UndoResponse response;
  response.set_version(1);
  Answer(absl::StrCat("Undo ", request.name()), std::move(response), std::move(done));
}
void FakeLifecycle::Disown(v1::DisownRequest request, lifecycle::Answer<v1::DisownResponse> done) {
  v1::DisownResponse response;
  response.add_key_ids("id-1");
  Answer(absl::StrCat("Disown ", request.name()), std::move(response), std::move(done));
}
void FakeLifecycle::Backup(lifecycle::Answer<std::vector<std::string>> done) {
  done(std::vector<std::string>{"a ", "back", "up"});
}

void FakeLifecycle::Status(lifecycle::Answer<v1::StatusResponse> done) {
  v1::StatusResponse response;
  response.set_credentials(2);
  Answer("Status", std::move(response), std::move(done));
}

void FakeLifecycle::Calendar(v1::CalendarRequest request,
                             lifecycle::Answer<v1::CalendarResponse> done) {
  v1::CalendarResponse response;
  response.add_entries()->set_what("rotation");
  Answer(absl::StrCat("Calendar ", request.match()), std::move(response), std::move(done));
}

void FakeLifecycle::Rotate(v1::RotateRequest request, Step step,
                           absl::AnyInvocable<void(absl::Status)> done) {
  Arrived(absl::StrCat("Rotate ", request.name()),
          [this, step = std::move(step), done = std::move(done)]() mutable {
            for (const char* state : {"creating", "verifying", "promoted"}) {
              v1::RotateResponse response;
              response.set_state(state);
              step(std::move(response));
            }
            done(error());
          });
}

}  // namespace keyturn::fakes

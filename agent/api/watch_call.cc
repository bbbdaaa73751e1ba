// SPDX-License-Identifier: Apache-2.0
#include "agent/api/watch_call.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "agent/api/credential_service.h"
#include "agent/api/pending_call.h"
#include "agent/api/status_mapping.h"
#include "agent/api/wiping_messages.h"

namespace keyturn::api {

grpc::ServerWriteReactor<v1::WatchResponse>* WatchCall::Start(CredentialService& service,
                                                              const v1::WatchRequest& request) {
  std::shared_ptr<WatchCall> call(new WatchCall(service, request));
  if (!service.streams_.Add(call)) {
    return new RefusedStream<v1::WatchResponse>(ToGrpc(Stopping()));
  }
  WatchCall* const started = call.get();
  call->self_ = std::move(call);
  // Before the first look at the values, so that no change falls in between. Until Next gives the
  // right to write back, being woken only leaves a mark.
  started->subscription_ = service.watch_hub_.Subscribe(
      service.policy_.principal_text(), started->names_, [started] { started->Woken(); });
  started->Next();
  return started;
}

WatchCall::WatchCall(CredentialService& service, const v1::WatchRequest& request)
    : service_(service) {
  absl::flat_hash_set<std::string> distinct;
  for (const std::string& name : request.names()) {
    if (!distinct.insert(name).second) continue;
    names_.push_back(name);
    const auto seen = request.seen().find(name);
    if (seen != request.seen().end()) told_[name] = seen->second;
  }
}

void WatchCall::Woken() {
  {
    absl::MutexLock lock(&mu_);
    is_woken_ = true;
    if (is_writing_) return;
    is_writing_ = true;
  }
  Next();
}

void WatchCall::SetEnd(absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (!end_.has_value()) end_ = std::move(status);
}

void WatchCall::EndWith(absl::Status status) {
  {
    absl::MutexLock lock(&mu_);
    if (!end_.has_value()) end_ = std::move(status);
    if (is_writing_) return;  // its holder will see the end
    is_writing_ = true;
  }
  Next();
}

void WatchCall::End() { EndWith(Stopping()); }
void WatchCall::OnCancel() { EndWith(absl::CancelledError("the caller left")); }

void WatchCall::OnWriteDone(bool ok) {
  WipeSecrets(response_);
  if (!ok) SetEnd(absl::CancelledError("the caller left"));
  Next();
}

void WatchCall::OnDone() {
  // Waits for a wake that is under way, so that none comes to a call that is gone.
  subscription_.reset();
  service_.streams_.Remove(self_);
  self_.reset();
}

void WatchCall::Next() {
  for (;;) {
    std::optional<absl::Status> end;
    {
      absl::MutexLock lock(&mu_);
      end = end_;
    }
    if (end.has_value()) {
      // The right to write stays taken: nobody writes or ends it again.
      Finish(ToGrpc(*end));
      return;
    }
    response_.Clear();
    if (Compose()) {
      StartWrite(&response_);
      return;
    }
    if (MayRest()) return;
  }
}

bool WatchCall::MayRest() {
  absl::MutexLock lock(&mu_);
  if (end_.has_value() || std::exchange(is_woken_, false)) return false;
  is_writing_ = false;
  return true;
}

bool WatchCall::Compose() {
  while (next_first_ < names_.size()) {
    if (ComposeFirst(names_[next_first_++])) return true;
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return false;
  }
  if (!is_synced_) {
    is_synced_ = true;
    response_.mutable_synced();
    return true;
  }
  for (std::string name = subscription_->TakeChanged(); !name.empty();
       name = subscription_->TakeChanged()) {
    if (ComposeChange(name)) return true;
    absl::MutexLock lock(&mu_);
    if (end_.has_value()) return false;
  }
  return false;
}

bool WatchCall::ComposeFirst(const std::string& name) {
  absl::Status status;
  if (ComposeValue(name, status)) return true;
  if (status.code() == absl::StatusCode::kNotFound) {
    if (told_.contains(name)) {
      ComposeDeleted(name);
      return true;
    }
    SetEnd(status);
  }
  return false;
}

bool WatchCall::ComposeChange(const std::string& name) {
  absl::Status status;
  if (ComposeValue(name, status)) return true;
  if (status.code() != absl::StatusCode::kNotFound) return false;
  ComposeDeleted(name);
  return true;
}

void WatchCall::ComposeDeleted(const std::string& name) {
  told_.erase(name);
  response_.mutable_deleted()->set_name(name);
}

// True when response_ holds a value that the reader does not have. Else `status` says why there is
// none; OK when there is nothing new.
bool WatchCall::ComposeValue(const std::string& name, absl::Status& status) {
  authz::Decision decision;
  status = service_.Authorize("Watch", name, decision);
  if (!status.ok()) {
    SetEnd(status);
    return false;
  }
  v1::Credential& credential = *response_.mutable_credential();
  const auto answer = service_.resolver_.TryGet(name, absl::ZeroDuration(), credential);
  // Not without a refresh: its result will wake this call.
  status = answer.value_or(absl::UnavailableError("not now"));
  const auto told = told_.find(name);
  const bool is_told = told != told_.end() && told->second == credential.version();
  // Who resumes has what it was told on an earlier connection.
  if (status.ok() && is_told) service_.marks_.Given(credential);
  if (!status.ok() || is_told) {
    WipeSecrets(credential);
    response_.Clear();
    return false;
  }
  told_[name] = credential.version();
  service_.Given("Watch", credential, decision);
  return true;
}

}  // namespace keyturn::api

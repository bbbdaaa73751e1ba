// SPDX-License-Identifier: Apache-2.0
// The fake's services, synchronous: a watch blocks a server thread until there is news.
#include "tests/fakes/fake_agent.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <utility>

#include <grpcpp/server_builder.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace keyturn::fakes {

grpc::Status DetailedError(grpc::StatusCode code, const std::string& message,
                           const std::string& reason, absl::Duration retry_delay) {
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("keyturn");
  (*info.mutable_metadata())["credential"] = "team/key";
  details.add_details()->PackFrom(info);
  if (retry_delay > absl::ZeroDuration()) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(retry_delay));
    details.add_details()->PackFrom(retry);
  }
  return {code, message, details.SerializeAsString()};
}

class FakeAgent::CredentialsService final : public v1::Credentials::Service {
 public:
  grpc::Status Get(grpc::ServerContext*, const v1::GetRequest* request,
                   v1::GetResponse* response) override {
    absl::MutexLock lock(&mutex_);
    ++get_calls_;
    return Find(request->name(), response->mutable_credential());
  }

  grpc::Status BatchGet(grpc::ServerContext*, const v1::BatchGetRequest* request,
                        v1::BatchGetResponse* response) override {
    absl::MutexLock lock(&mutex_);
    for (const std::string& name : request->names()) {
      v1::BatchGetResult& result = *response->add_results();
      result.set_name(name);
      v1::Credential credential;
      const grpc::Status status = Find(name, &credential);
      if (status.ok()) {
        *result.mutable_credential() = credential;
      } else {
        result.mutable_failure()->set_code(status.error_code());
        result.mutable_failure()->set_reason("FAKE_REASON");
        result.mutable_failure()->set_message(status.error_message());
        result.mutable_failure()->mutable_retry_delay()->set_seconds(7);
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::WatchResponse>* writer) override {
    std::map<std::string, uint64_t> seen(request->seen().begin(), request->seen().end());
    {
      absl::MutexLock lock(&mutex_);
      watches_.push_back(*request);
      for (const std::string& name : request->names()) {
        if (const grpc::Status status = Find(name, nullptr); !status.ok()) return status;
      }
    }
    bool synced = false;
    while (!context->IsCancelled()) {
      std::vector<v1::WatchResponse> news = Collect(*request, seen);
      if (!synced) news.emplace_back().mutable_synced();
      for (const v1::WatchResponse& response : news) {
        if (!writer->Write(response)) return grpc::Status::CANCELLED;
      }
      absl::MutexLock lock(&mutex_);
      if (!synced) ++synced_;
      synced = true;
      if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "stopping"};
      const uint64_t known = changes_;
      const auto changed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_ || changes_ != known;
      };
      // A cancelled stream is noticed between waits.
      mutex_.AwaitWithTimeout(absl::Condition(&changed), absl::Milliseconds(20));
    }
    return grpc::Status::CANCELLED;
  }

  grpc::Status Acknowledge(grpc::ServerContext*, const v1::AcknowledgeRequest* request,
                           v1::AcknowledgeResponse* response) override {
    absl::MutexLock lock(&mutex_);
    v1::Credential credential;
    const grpc::Status status = Find(request->name(), &credential);
    if (!status.ok()) return status;
    acknowledgements_.push_back(absl::StrCat(request->name(), " ", request->version()));
    response->set_current_version(credential.version());
    return grpc::Status::OK;
  }

  grpc::Status WhoAmI(grpc::ServerContext*, const v1::WhoAmIRequest*,
                      v1::WhoAmIResponse* response) override {
    response->set_principal("unix:uid=1000,user=support");
    response->set_uid(1000);
    response->set_gid(1001);
    response->set_pid(42);
    response->set_user("support");
    response->add_groups(1001);
    auto* grant = response->add_grants();
    grant->set_policy("support-bot");
    grant->add_actions("read");
    grant->add_names("support-bot/*");
    return grpc::Status::OK;
  }

  void Set(v1::Credential credential) {
    absl::MutexLock lock(&mutex_);
    credentials_[credential.name()] = std::move(credential);
    ++changes_;
  }
  void Delete(const std::string& name) {
    absl::MutexLock lock(&mutex_);
    credentials_.erase(name);
    ++changes_;
  }
  void Fail(const std::string& name, grpc::Status status) {
    absl::MutexLock lock(&mutex_);
    errors_[name] = std::move(status);
  }
  void SetStopping(bool stopping) {
    absl::MutexLock lock(&mutex_);
    stopping_ = stopping;
  }
  int get_calls() const {
    absl::MutexLock lock(&mutex_);
    return get_calls_;
  }
  std::vector<std::string> acknowledgements() const {
    absl::MutexLock lock(&mutex_);
    return acknowledgements_;
  }
  bool AwaitAcknowledgements(size_t count) const {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return acknowledgements_.size() >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30));
  }
  std::vector<v1::WatchRequest> watches() const {
    absl::MutexLock lock(&mutex_);
    return watches_;
  }
  void AwaitSynced(int count) const {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return synced_ >= count; };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30));
  }

 private:
  grpc::Status Find(const std::string& name, v1::Credential* into) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    const auto error = errors_.find(name);
    if (error != errors_.end() && !error->second.ok()) return error->second;
    const auto found = credentials_.find(name);
    if (found == credentials_.end()) {
      return DetailedError(grpc::StatusCode::NOT_FOUND, "no credential '" + name + "'",
                           "NO_SUCH_CREDENTIAL");
    }
    if (into != nullptr) *into = found->second;
    return grpc::Status::OK;
  }

  // What has changed since `seen`, which is brought up to date.
  std::vector<v1::WatchResponse> Collect(const v1::WatchRequest& request,
                                         std::map<std::string, uint64_t>& seen) const {
    absl::MutexLock lock(&mutex_);
    std::vector<v1::WatchResponse> news;
    for (const std::string& name : request.names()) {
      const auto found = credentials_.find(name);
      const auto known = seen.find(name);
      if (found == credentials_.end()) {
        if (known != seen.end()) news.emplace_back().mutable_deleted()->set_name(name);
        seen.erase(name);
      } else if (known == seen.end() || known->second != found->second.version()) {
        *news.emplace_back().mutable_credential() = found->second;
        seen[name] = found->second.version();
      }
    }
    return news;
  }

  mutable absl::Mutex mutex_;
  std::map<std::string, v1::Credential> credentials_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, grpc::Status> errors_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::WatchRequest> watches_ ABSL_GUARDED_BY(mutex_);
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::string> acknowledgements_ ABSL_GUARDED_BY(mutex_);
  int get_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int synced_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

class FakeAgent::AdminService final : public v1::Admin::Service {
 public:
  explicit AdminService(const Admin& admin) : admin_(admin) {}

  grpc::Status Apply(grpc::ServerContext*, const v1::ApplyRequest* request,
                     v1::ApplyResponse* response) override {
    return admin_.apply ? admin_.apply(*request, response) : admin_.error;
  }
  grpc::Status Plan(grpc::ServerContext*, const v1::ApplyRequest* request,
                    v1::ApplyResponse* response) override {
    return admin_.apply ? admin_.apply(*request, response) : admin_.error;
  }
  grpc::Status Export(grpc::ServerContext*, const v1::ExportRequest*,
                      v1::ExportResponse* response) override {
    response->set_yaml("credentials: {}\n");
    return admin_.error;
  }
  grpc::Status List(grpc::ServerContext*, const v1::ListRequest*,
                    v1::ListResponse* response) override {
    *response = admin_.list;
    return admin_.error;
  }
  grpc::Status Describe(grpc::ServerContext*, const v1::DescribeRequest*,
                        v1::DescribeResponse* response) override {
    *response = admin_.describe;
    return admin_.error;
  }
  grpc::Status Put(grpc::ServerContext*, const v1::PutRequest* request,
                   v1::PutResponse* response) override {
    response->set_version(1);
    return admin_.put ? admin_.put(*request) : admin_.error;
  }
  grpc::Status Delete(grpc::ServerContext*, const v1::DeleteRequest*,
                      v1::DeleteResponse* response) override {
    *response = admin_.deleted;
    return admin_.error;
  }
  grpc::Status Rotate(grpc::ServerContext*, const v1::RotateRequest*,
                      grpc::ServerWriter<v1::RotateResponse>* writer) override {
    for (const v1::RotateResponse& step : admin_.rotate_steps) writer->Write(step);
    return admin_.error;
  }
  grpc::Status Refresh(grpc::ServerContext*, const v1::RefreshRequest*,
                       v1::RefreshResponse* response) override {
    response->set_version(8);
    return admin_.error;
  }
  grpc::Status History(grpc::ServerContext*, const v1::HistoryRequest*,
                       v1::HistoryResponse* response) override {
    *response = admin_.history;
    return admin_.error;
  }
  grpc::Status ListRecipes(grpc::ServerContext*, const v1::ListRecipesRequest*,
                           v1::ListRecipesResponse* response) override {
    *response = admin_.recipes;
    return admin_.error;
  }
  grpc::Status ShowRecipe(grpc::ServerContext*, const v1::ShowRecipeRequest*,
                          v1::ShowRecipeResponse* response) override {
    *response = admin_.recipe;
    return admin_.error;
  }
  grpc::Status TestRecipe(grpc::ServerContext*, const v1::TestRecipeRequest* request,
                          v1::TestRecipeResponse* response) override {
    *response = admin_.recipe_trial;
    // So that a test sees what was asked.
    response->add_checks()->set_detail(request->ShortDebugString());
    return admin_.error;
  }
  grpc::Status ListPresets(grpc::ServerContext*, const v1::ListPresetsRequest*,
                           v1::ListPresetsResponse* response) override {
    *response = admin_.presets;
    return admin_.error;
  }
  grpc::Status ShowPreset(grpc::ServerContext*, const v1::ShowPresetRequest*,
                          v1::ShowPresetResponse* response) override {
    *response = admin_.preset;
    return admin_.error;
  }
  grpc::Status Revoke(grpc::ServerContext*, const v1::RevokeRequest*,
                      v1::RevokeResponse* response) override {
    *response = admin_.revoked;
    return admin_.error;
  }
  grpc::Status TestCredential(grpc::ServerContext*, const v1::TestCredentialRequest*,
                              v1::TestCredentialResponse* response) override {
    *response = admin_.trial;
    return admin_.error;
  }
  grpc::Status Status(grpc::ServerContext*, const v1::StatusRequest*,
                      v1::StatusResponse* response) override {
    *response = admin_.status;
    return admin_.error;
  }

 private:
  const Admin& admin_;
};

FakeAgent::FakeAgent(std::string socket_path)
    : socket_path_(std::move(socket_path)),
      credentials_service_(std::make_unique<CredentialsService>()),
      admin_service_(std::make_unique<AdminService>(admin)) {}

FakeAgent::~FakeAgent() { Stop(); }

void FakeAgent::Start() {
  credentials_service_->SetStopping(false);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket_path_, grpc::InsecureServerCredentials());
  builder.RegisterService(credentials_service_.get());
  builder.RegisterService(admin_service_.get());
  server_ = builder.BuildAndStart();
}

void FakeAgent::Stop() {
  if (server_ == nullptr) return;
  credentials_service_->SetStopping(true);
  server_->Shutdown(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
  server_->Wait();
  server_ = nullptr;
  unlink(socket_path_.c_str());
}

void FakeAgent::Set(const std::string& name, uint64_t version, const std::string& value,
                    absl::Time expires_at) {
  v1::Credential credential;
  credential.set_name(name);
  credential.set_kind(v1::OAUTH_TOKEN);
  credential.set_version(version);
  credential.set_primary("access_token");
  v1::Field& field = *credential.add_fields();
  field.set_name("access_token");
  field.set_value(value);
  field.set_secret(true);
  credential.mutable_attach()->set_header("Authorization");
  credential.mutable_attach()->set_format("Bearer {value}");
  if (expires_at != absl::InfiniteFuture()) {
    credential.mutable_expires_at()->set_seconds(absl::ToUnixSeconds(expires_at));
  }
  SetCredential(std::move(credential));
}

void FakeAgent::SetCredential(v1::Credential credential) {
  credentials_service_->Set(std::move(credential));
}
void FakeAgent::Delete(const std::string& name) { credentials_service_->Delete(name); }
void FakeAgent::FailName(const std::string& name, grpc::Status status) {
  credentials_service_->Fail(name, std::move(status));
}
std::vector<std::string> FakeAgent::acknowledgements() const {
  return credentials_service_->acknowledgements();
}
bool FakeAgent::AwaitAcknowledgements(size_t count) const {
  return credentials_service_->AwaitAcknowledgements(count);
}
int FakeAgent::get_calls() const { return credentials_service_->get_calls(); }
std::vector<v1::WatchRequest> FakeAgent::watches() const { return credentials_service_->watches(); }
void FakeAgent::AwaitSynced(int count) const { credentials_service_->AwaitSynced(count); }

SocketDirectory::SocketDirectory() {
  char path[] = "/tmp/keyturn-test-XXXXXX";
  if (mkdtemp(path) != nullptr) path_ = path;
}

SocketDirectory::~SocketDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace keyturn::fakes

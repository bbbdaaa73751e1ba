// SPDX-License-Identifier: Apache-2.0
// The Client over one Connection.
#include "keyturn/client.h"

#include <stdlib.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/lib/connection.h"
#include "client/lib/messages.h"
#include "client/lib/watch.h"
#include "keyturn/v1/credentials.grpc.pb.h"

namespace keyturn {
namespace {

constexpr char kDefaultSocket[] = "/run/keyturn/keyturn.sock";

class SocketClient final : public Client {
 public:
  explicit SocketClient(std::unique_ptr<client::Connection> connection)
      : connection_(std::move(connection)),
        stub_(v1::Credentials::NewStub(connection_->channel())) {}

  absl::StatusOr<Credential> Get(const std::string& name, const GetOptions& options) override {
    v1::GetRequest request;
    request.set_name(name);
    if (options.min_remaining > absl::ZeroDuration()) {
      client::SetDuration(options.min_remaining, *request.mutable_min_remaining());
    }
    auto reply = connection_->Call<v1::GetResponse>(
        options.timeout, true, [&](grpc::ClientContext* context, v1::GetResponse* response) {
          return stub_->Get(context, request, response);
        });
    if (!reply.ok()) return reply.status();
    return client::TakeCredential(*reply->mutable_credential());
  }

  absl::StatusOr<std::vector<absl::StatusOr<Credential>>> BatchGet(
      const std::vector<std::string>& names, const GetOptions& options) override {
    if (options.min_remaining > absl::ZeroDuration()) {
      return absl::InvalidArgumentError("a batch cannot ask for a minimum lifetime");
    }
    v1::BatchGetRequest request;
    request.mutable_names()->Assign(names.begin(), names.end());
    auto reply = connection_->Call<v1::BatchGetResponse>(
        options.timeout, true, [&](grpc::ClientContext* context, v1::BatchGetResponse* response) {
          return stub_->BatchGet(context, request, response);
        });
    if (!reply.ok()) return reply.status();
    if (reply->results_size() != static_cast<int>(names.size())) {
      return absl::InternalError(absl::StrCat("asked for ", names.size(), " credentials, got ",
                                              reply->results_size(), " results"));
    }
    std::vector<absl::StatusOr<Credential>> results;
    results.reserve(names.size());
    for (v1::BatchGetResult& result : *reply->mutable_results()) {
      if (result.has_credential()) {
        results.emplace_back(client::TakeCredential(*result.mutable_credential()));
      } else {
        results.emplace_back(client::FailureStatus(result.failure()));
      }
    }
    return results;
  }

  std::unique_ptr<WatchHandle> Watch(std::vector<std::string> names,
                                     std::function<void(WatchEvent)> callback,
                                     WatchOptions options) override {
    return client::StartWatch(connection_, this, std::move(names), std::move(callback),
                              std::move(options));
  }

  absl::StatusOr<uint64_t> Acknowledge(const std::string& name, uint64_t version,
                                       absl::Duration timeout) override {
    v1::AcknowledgeRequest request;
    request.set_name(name);
    request.set_version(version);
    // Saying it twice changes nothing.
    const auto reply = connection_->Call<v1::AcknowledgeResponse>(
        timeout, true, [&](grpc::ClientContext* context, v1::AcknowledgeResponse* response) {
          return stub_->Acknowledge(context, request, response);
        });
    if (!reply.ok()) return reply.status();
    return reply->current_version();
  }

  absl::StatusOr<Rejection> ReportRejected(const std::string& name, uint64_t version,
                                           absl::Duration timeout) override {
    v1::ReportRejectedRequest request;
    request.set_name(name);
    request.set_version(version);
    // Saying it twice makes the agent act once.
    const auto reply = connection_->Call<v1::ReportRejectedResponse>(
        timeout, true, [&](grpc::ClientContext* context, v1::ReportRejectedResponse* response) {
          return stub_->ReportRejected(context, request, response);
        });
    if (!reply.ok()) return reply.status();
    return Rejection{reply->current_version(), reply->outcome()};
  }

  absl::StatusOr<Identity> WhoAmI(absl::Duration timeout) override {
    const auto reply = connection_->Call<v1::WhoAmIResponse>(
        timeout, true, [&](grpc::ClientContext* context, v1::WhoAmIResponse* response) {
          return stub_->WhoAmI(context, {}, response);
        });
    if (!reply.ok()) return reply.status();
    return client::IdentityOf(*reply);
  }

  absl::Status WaitReady(absl::Duration timeout) override {
    return connection_->EnsureConnected(absl::Now() + timeout);
  }

  const std::string& socket_path() const override { return connection_->socket_path(); }

 private:
  const std::shared_ptr<client::Connection> connection_;
  const std::unique_ptr<v1::Credentials::Stub> stub_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Client>> Client::Connect(ConnectOptions options) {
  std::string path = std::move(options.socket_path);
  if (path.empty()) {
    const char* environment = secure_getenv("KEYTURN_SOCKET");
    path = environment != nullptr && *environment != '\0' ? environment : kDefaultSocket;
  }
  auto connection = client::Connection::Make(std::move(path), options.connect_timeout);
  if (!connection.ok()) return connection.status();
  return std::make_shared<SocketClient>(*std::move(connection));
}

}  // namespace keyturn

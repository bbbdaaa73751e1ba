// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/api/api_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "google/rpc/status.pb.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::api {

ApiTest::ApiTest(const ConnectionLimits& limits)
    : executor_("test"),
      lifecycle_(executor_),
      publisher_(snapshot_, hub_),
      resolver_(snapshot_, lifecycle_, base::SystemClock()),
      server_(Server::Options{.services_path = services_path(),
                              .services_mode = 0666,
                              .admin_path = admin_path(),
                              .services_limits = limits,
                              .store_path = "/store.db"},
              Server::Dependencies{resolver_, hub_, lifecycle_, policies_, audit_, log_,
                                   base::SystemClock()}) {
  // Other users must reach the socket.
  EXPECT_EQ(chmod(directory_.path().c_str(), 0755), 0);
  const absl::Status started = server_.Start();
  EXPECT_TRUE(started.ok()) << started;
}

ApiTest::~ApiTest() {
  server_.Drain(absl::ZeroDuration());
  executor_.Stop();
}

void ApiTest::Publish(const std::string& name, uint64_t version, const std::string& value) {
  lifecycle::PublishedVersion published;
  published.name = name;
  published.kind = v1::API_KEY;
  published.version = version;
  published.value = base::CredentialValue::Of(base::Secret(value));
  publisher_.Publish(published);
}

void ApiTest::PublishToken(const std::string& name, uint64_t version, const std::string& value,
                           absl::Duration valid_for) {
  const base::Clock& clock = base::SystemClock();
  lifecycle::PublishedVersion published;
  published.name = name;
  published.kind = v1::OAUTH_TOKEN;
  published.version = version;
  published.value = base::CredentialValue::Of(base::Secret(value));
  published.expires = clock.BootNow() + valid_for;
  published.expires_wall = clock.WallNow() + valid_for;
  published.hard = published.expires;
  publisher_.Publish(published);
}

void ApiTest::AllowMe(std::vector<std::string> globs) {
  policies_.Replace(authz::PolicySet({{"test-policy",
                                       {{static_cast<int64_t>(geteuid()), -1}},
                                       {authz::Action::kRead},
                                       std::move(globs)}}));
}

std::shared_ptr<grpc::Channel> ApiTest::Connect(const std::string& path) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
}

grpc::Status ApiTest::Get(v1::Credentials::Stub& stub, const std::string& name,
                          v1::GetResponse* response, std::optional<absl::Duration> deadline) {
  grpc::ClientContext context;
  if (deadline.has_value()) SetDeadline(context, *deadline);
  v1::GetRequest request;
  request.set_name(name);
  return stub.Get(&context, request, response);
}

Details DetailsOf(const grpc::Status& status) {
  Details details;
  google::rpc::Status parsed;
  if (!parsed.ParseFromString(status.error_details())) return details;
  for (const auto& any : parsed.details()) {
    if (google::rpc::ErrorInfo error; any.UnpackTo(&error)) details.error = error;
    if (google::rpc::RetryInfo retry; any.UnpackTo(&retry)) details.retry = retry;
  }
  return details;
}

void SetDeadline(grpc::ClientContext& context, absl::Duration from_now) {
  context.set_deadline(absl::ToChronoTime(base::SystemClock().WallNow() + from_now));
}

}  // namespace keyturn::api

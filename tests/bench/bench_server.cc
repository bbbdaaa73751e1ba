// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/bench_server.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "agent/api/peer_server.h"
#include "agent/api/server.h"
#include "agent/audit/log_audit_sink.h"
#include "agent/base/check.h"
#include "agent/base/serial_executor.h"
#include "agent/credential/publisher.h"
#include "agent/crypto/init.h"
#include "agent/lifecycle/delivery_queue.h"
#include "keyturn/v1/credentials.grpc.pb.h"
#include "tests/fakes/fake_lifecycle.h"

namespace keyturn::bench {
namespace {

class NoLog final : public observe::Log {
 public:
  void Write(observe::Level, absl::string_view, const observe::LogFields&) override {}
};

// Takes deliveries as the real lifecycle does.
class BenchLifecycle final : public fakes::FakeLifecycle {
 public:
  explicit BenchLifecycle(base::Executor& executor)
      : fakes::FakeLifecycle(executor), executor_(executor) {}
  void Given(const lifecycle::Delivery& delivery) override {
    if (queue_.Push(delivery)) {
      executor_.After(absl::Milliseconds(100), [this] { queue_.Take(); });
    }
  }

 private:
  base::Executor& executor_;
  lifecycle::DeliveryQueue queue_;
};

lifecycle::PublishedVersion VersionOf(int index) {
  lifecycle::PublishedVersion version;
  version.name = CredentialName(index);
  version.kind = v1::API_KEY;
  version.version = 1;
  version.value = base::CredentialValue::Of(base::Secret(std::string(128, 'k')));
  version.attach_header = "Authorization";
  version.attach_format = "Bearer {value}";
  return version;
}

class BareService final : public v1::Credentials::CallbackService {
 public:
  explicit BareService(v1::GetResponse reply) : reply_(std::move(reply)) {}
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const v1::GetRequest*,
                                v1::GetResponse* response) override {
    response->CopyFrom(reply_);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status());
    return reactor;
  }

 private:
  const v1::GetResponse reply_;
};

class BareServices final : public api::PeerServices {
 public:
  explicit BareServices(const v1::GetResponse& reply) : service_(reply) {}
  std::vector<grpc::Service*> All() override { return {&service_}; }

 private:
  BareService service_;
};

}  // namespace

std::string CredentialName(int index) {
  return absl::StrFormat("team-%d/key-%05d", index % 50, index);
}

void ServeUntilClosed(const Sockets& sockets, int control) {
  crypto::Init();
  base::SerialExecutor executor("bench");
  BenchLifecycle lifecycle(executor);
  credential::Snapshot snapshot;
  credential::WatchHub hub;
  credential::Publisher publisher(snapshot, hub);
  credential::Resolver resolver(snapshot, lifecycle, base::SystemClock());
  for (int i = 0; i < kCredentials; ++i) publisher.Publish(VersionOf(i));
  authz::PolicyHolder policies;
  policies.Replace(authz::PolicySet({{"nobody", {{1, -1}}, {authz::Action::kRead}, {"x/*"}},
                                     {"bench",
                                      {{static_cast<int64_t>(geteuid()), -1}},
                                      {authz::Action::kRead},
                                      {"other/*", "team-*/*"}}}));
  NoLog log;
  audit::LogAuditSink audit(log);

  api::Server::Options options;
  options.services_path = sockets.agent;
  options.admin_path = sockets.admin;
  api::Server agent(options, {resolver, hub, lifecycle, policies, audit, log, base::SystemClock()});
  KEYTURN_CHECK(agent.Start().ok(), "the agent's sockets open");

  v1::GetResponse reply;
  KEYTURN_CHECK(
      resolver.TryGet(CredentialName(0), absl::ZeroDuration(), *reply.mutable_credential())
          .value()
          .ok(),
      "the first credential is there");
  BareService bare(reply);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + sockets.shared, grpc::InsecureServerCredentials());
  builder.RegisterService(&bare);
  const std::unique_ptr<grpc::Server> shared = builder.BuildAndStart();

  absl::StatusOr<api::ListeningSocket> socket =
      api::ListeningSocket::Open(sockets.per_connection, 0600);
  KEYTURN_CHECK(shared != nullptr && socket.ok(), "the bare sockets open");
  api::PeerServer each(
      *std::move(socket), {"bench", false, {}, {}},
      [&reply](const authn::Principal&) { return std::make_unique<BareServices>(reply); }, log,
      base::SystemClock());
  each.Start();

  char byte = 'r';
  KEYTURN_CHECK(write(control, &byte, 1) == 1, "the control pipe takes a byte");
  while (read(control, &byte, 1) > 0) {
  }
  shared->Shutdown(std::chrono::system_clock::time_point{});
  executor.Stop();
}

}  // namespace keyturn::bench

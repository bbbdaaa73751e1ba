// SPDX-License-Identifier: Apache-2.0
// A whole api::Server on real sockets in a directory of its own, over a real snapshot and a fake
// lifecycle; and clients that share nothing with each other.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/api/server.h"
#include "agent/base/serial_executor.h"
#include "agent/credential/publisher.h"
#include "google/rpc/error_details.pb.h"
#include "keyturn/v1/admin.grpc.pb.h"
#include "keyturn/v1/credentials.grpc.pb.h"
#include "tests/fakes/fake_lifecycle.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::api {

class RecordingAudit final : public audit::AuditSink {
 public:
  void Record(const audit::Event& event) override {
    absl::MutexLock lock(&mu_);
    events_.push_back(event);
  }
  std::vector<audit::Event> events() const {
    absl::MutexLock lock(&mu_);
    return events_;
  }

 private:
  mutable absl::Mutex mu_;
  std::vector<audit::Event> events_ ABSL_GUARDED_BY(mu_);
};

class RecordingLog final : public observe::Log {
 public:
  void Write(observe::Level level, absl::string_view event,
             const observe::LogFields& fields) override {
    absl::MutexLock lock(&mu_);
    lines_.push_back(observe::FormatLine(absl::UnixEpoch(), level, event, fields));
  }
  // Blocks until a line holds `text`.
  void AwaitLine(const std::string& text) {
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      for (const std::string& line : lines_) {
        if (line.find(text) != std::string::npos) return true;
      }
      return false;
    };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&there));
  }

 private:
  absl::Mutex mu_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mu_);
};

class ApiTest : public testing::Test {
 protected:
  explicit ApiTest(const ConnectionLimits& limits = ConnectionLimits());
  ~ApiTest() override;

  // A version of `name` with one secret field; a token may have an expiry.
  void Publish(const std::string& name, uint64_t version, const std::string& value);
  void PublishToken(const std::string& name, uint64_t version, const std::string& value,
                    absl::Duration valid_for);
  // `globs` may be read by this process's user.
  void AllowMe(std::vector<std::string> globs);

  std::string services_path() const { return directory_.File("services.sock"); }
  std::string admin_path() const { return directory_.File("admin.sock"); }
  static std::shared_ptr<grpc::Channel> Connect(const std::string& path);
  std::unique_ptr<v1::Credentials::Stub> Services() const {
    return v1::Credentials::NewStub(Connect(services_path()));
  }
  std::unique_ptr<v1::Admin::Stub> Admin() const {
    return v1::Admin::NewStub(Connect(admin_path()));
  }

  static grpc::Status Get(v1::Credentials::Stub& stub, const std::string& name,
                          v1::GetResponse* response,
                          std::optional<absl::Duration> deadline = absl::Seconds(20));

  fakes::TemporaryDirectory directory_;
  base::SerialExecutor executor_;
  fakes::FakeLifecycle lifecycle_;
  credential::Snapshot snapshot_;
  credential::WatchHub hub_;
  credential::Publisher publisher_;
  credential::Resolver resolver_;
  authz::PolicyHolder policies_;
  RecordingAudit audit_;
  RecordingLog log_;
  Server server_;
};

// The ErrorInfo and RetryInfo of a status' binary details.
struct Details {
  std::optional<google::rpc::ErrorInfo> error;
  std::optional<google::rpc::RetryInfo> retry;
};
Details DetailsOf(const grpc::Status& status);

void SetDeadline(grpc::ClientContext& context, absl::Duration from_now);

}  // namespace keyturn::api

// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdio>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "agent/base/check.h"
#include "agent/base/clock.h"
#include "keyturn/v1/credentials.grpc.pb.h"
#include "tests/bench/bench_server.h"

namespace keyturn::bench {
namespace {

absl::Duration Now() { return base::SystemClock().BootNow().since_boot; }

// One of the calls in flight, again and again.
class Lane {
 public:
  Lane(v1::Credentials::Stub& stub, uint32_t seed) : stub_(stub), random_(seed) {}

  void Start(absl::Duration until, absl::BlockingCounter& done) {
    latencies_.clear();
    failures_ = 0;
    until_ = until;
    done_ = &done;
    Next();
  }
  const std::vector<float>& latencies() const { return latencies_; }
  uint64_t failures() const { return failures_; }

 private:
  void Next() {
    context_ = std::make_unique<grpc::ClientContext>();
    random_ = random_ * 1664525u + 1013904223u;
    request_.set_name(CredentialName(static_cast<int>((random_ >> 8) % kCredentials)));
    began_ = Now();
    stub_.async()->Get(context_.get(), &request_, &response_, [this](const grpc::Status& status) {
      const absl::Duration now = Now();
      latencies_.push_back(static_cast<float>(absl::ToDoubleMicroseconds(now - began_)));
      if (!status.ok()) ++failures_;
      if (now < until_) {
        Next();
      } else {
        done_->DecrementCount();
      }
    });
  }

  v1::Credentials::Stub& stub_;
  uint32_t random_;
  std::unique_ptr<grpc::ClientContext> context_;
  v1::GetRequest request_;
  v1::GetResponse response_;
  absl::Duration began_;
  absl::Duration until_;
  absl::BlockingCounter* done_ = nullptr;
  std::vector<float> latencies_;
  uint64_t failures_ = 0;
};

}  // namespace

struct Load::Impl {
  std::vector<std::unique_ptr<v1::Credentials::Stub>> stubs;
  std::vector<std::unique_ptr<Lane>> lanes;
};

Load::Load(const std::string& path, int channels, int in_flight) : impl_(std::make_unique<Impl>()) {
  for (int i = 0; i < channels; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    impl_->stubs.push_back(v1::Credentials::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("unix:", path), grpc::InsecureChannelCredentials(), arguments)));
    grpc::ClientContext context;
    v1::GetRequest request;
    request.set_name(CredentialName(0));
    v1::GetResponse response;
    const grpc::Status status = impl_->stubs.back()->Get(&context, request, &response);
    if (!status.ok())
      std::fprintf(stderr, "%s: %s\n", path.c_str(), status.error_message().c_str());
    KEYTURN_CHECK(status.ok(), "the first call succeeds");
  }
  for (int i = 0; i < in_flight; ++i) {
    const size_t stub = static_cast<size_t>(i) % impl_->stubs.size();
    impl_->lanes.push_back(
        std::make_unique<Lane>(*impl_->stubs[stub], 0x9E3779B9u * static_cast<uint32_t>(i + 1)));
  }
}

Load::~Load() = default;

Sample Load::Run(absl::Duration duration) {
  absl::BlockingCounter done(static_cast<int>(impl_->lanes.size()));
  const absl::Duration began = Now();
  for (const auto& lane : impl_->lanes) lane->Start(began + duration, done);
  done.Wait();
  Sample sample;
  sample.seconds = absl::ToDoubleSeconds(Now() - began);
  for (const auto& lane : impl_->lanes) {
    sample.failures += lane->failures();
    sample.latencies_us.insert(sample.latencies_us.end(), lane->latencies().begin(),
                               lane->latencies().end());
  }
  return sample;
}

}  // namespace keyturn::bench

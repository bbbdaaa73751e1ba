// SPDX-License-Identifier: Apache-2.0
// token_storm SOCKET NAME CALLS CONNECTIONS: so many Get calls of one credential, all in flight at
// once over so many connections; every hundredth gives up after 50 ms. Connects, prints `ready`,
// waits for a line on standard input, calls, and prints what came of it as one line of JSON. Values
// do not leave it: only how many different ones there were.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "agent/base/clock.h"
#include "keyturn/v1/credentials.grpc.pb.h"

namespace {

using keyturn::base::SystemClock;

struct Call {
  grpc::ClientContext context;
  keyturn::v1::GetRequest request;
  keyturn::v1::GetResponse response;
  grpc::Status status;
  absl::Duration took;
};

double At(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<size_t>(part * static_cast<double>(sorted.size() - 1))];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const int calls_wanted = std::atoi(argv[3]);
  const int connections = std::atoi(argv[4]);
  std::vector<std::unique_ptr<keyturn::v1::Credentials::Stub>> stubs;
  for (int i = 0; i < connections; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stubs.push_back(keyturn::v1::Credentials::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("unix:", argv[1]), grpc::InsecureChannelCredentials(), arguments)));
    grpc::ClientContext context;
    keyturn::v1::WhoAmIRequest request;
    keyturn::v1::WhoAmIResponse response;
    const grpc::Status status = stubs.back()->WhoAmI(&context, request, &response);
    if (!status.ok()) {
      std::fprintf(stderr, "connection %d: %s\n", i, status.error_message().c_str());
      return 1;
    }
  }
  std::puts("ready");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);

  std::vector<Call> calls(static_cast<size_t>(calls_wanted));
  absl::BlockingCounter left(calls_wanted);
  for (size_t i = 0; i < calls.size(); ++i) {
    Call& call = calls[i];
    const bool hasty = i % 100 == 99;
    call.request.set_name(argv[2]);
    call.context.set_deadline(std::chrono::system_clock::now() +
                              std::chrono::milliseconds(hasty ? 50 : 60'000));
    const keyturn::base::BootTime began = SystemClock().BootNow();
    stubs[i % stubs.size()]->async()->Get(&call.context, &call.request, &call.response,
                                          [&call, &left, began](grpc::Status status) {
                                            call.took = SystemClock().BootNow() - began;
                                            call.status = std::move(status);
                                            left.DecrementCount();
                                          });
  }
  left.Wait();

  std::vector<double> waits_ms;
  std::set<std::string> values;
  std::set<uint64_t> versions;
  std::string errors;
  int given_up = 0, failed = 0;
  for (const Call& call : calls) {
    if (call.status.ok()) {
      waits_ms.push_back(absl::ToDoubleMilliseconds(call.took));
      versions.insert(call.response.credential().version());
      for (const auto& field : call.response.credential().fields()) values.insert(field.value());
    } else if (call.status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      ++given_up;
    } else if (++failed <= 3) {
      std::fprintf(stderr, "%d: %s\n", static_cast<int>(call.status.error_code()),
                   call.status.error_message().c_str());
    }
  }
  std::sort(waits_ms.begin(), waits_ms.end());
  std::printf(
      "{\"ok\": %zu, \"given_up\": %d, \"failed\": %d, \"values\": %zu, \"version\": %llu, "
      "\"versions\": %zu, \"p50_ms\": %.1f, \"p99_ms\": %.1f, \"max_ms\": %.1f}\n",
      waits_ms.size(), given_up, failed, values.size(),
      static_cast<unsigned long long>(versions.empty() ? 0 : *versions.rbegin()), versions.size(),
      At(waits_ms, 0.5), At(waits_ms, 0.99), At(waits_ms, 1));
  std::fflush(stdout);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// keyturn_bench [--json FILE] [--seconds N]: throughput and latency of Credentials.Get over 10,000
// credentials beside a bare gRPC server whose reply has the same size. All three targets live in
// one process that was forked before gRPC started; the load is made in the other, on the same
// machine. Rounds are interleaved, so that whatever disturbs the machine disturbs all alike; only
// the ratios are worth comparing between machines. --seconds is for each number of calls in flight.
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/base/check.h"
#include "tests/bench/bench_server.h"
#include "tests/bench/load.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::bench {
namespace {

struct Arguments {
  std::string json;
  double seconds = 9;
};

bool Parse(int argc, char** argv, Arguments& out) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return false;
    if (strcmp(argv[i], "--json") == 0) {
      out.json = argv[i + 1];
    } else if (strcmp(argv[i], "--seconds") == 0) {
      out.seconds = std::atof(argv[i + 1]);
    } else {
      return false;
    }
  }
  return out.seconds > 0;
}

double CpuSeconds(pid_t pid) {
  clockid_t clock = 0;
  timespec used{};
  KEYTURN_CHECK(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &used) == 0,
                "the server's CPU clock can be read");
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

struct Target {
  const char* name;
  std::string path;
};

struct Result {
  double calls_per_s = 0;
  double p50_us = 0;
  double p99_us = 0;
  double server_cpu_us = 0;  // for each call
};

// All rounds of one target, taken together.
struct Gathered {
  double seconds = 0;
  double cpu_seconds = 0;
  uint64_t failures = 0;
  std::vector<float> latencies_us;

  Result Summarize() {
    Result result;
    const size_t calls = latencies_us.size();
    std::sort(latencies_us.begin(), latencies_us.end());
    result.calls_per_s = static_cast<double>(calls) / seconds;
    result.p50_us = static_cast<double>(latencies_us[calls / 2]);
    result.p99_us = static_cast<double>(latencies_us[calls * 99 / 100]);
    result.server_cpu_us = cpu_seconds * 1e6 / static_cast<double>(calls);
    return result;
  }
};

constexpr size_t kTargets = 3;
constexpr int kRounds = 6;

std::array<Result, kTargets> Measure(const std::array<Target, kTargets>& targets, int channels,
                                     int in_flight, double seconds, pid_t server,
                                     uint64_t& failures) {
  std::vector<std::unique_ptr<Load>> loads;
  for (const Target& target : targets) {
    loads.push_back(std::make_unique<Load>(target.path, channels, in_flight));
    loads.back()->Run(absl::Milliseconds(200));  // to warm up
  }
  std::array<Gathered, kTargets> gathered;
  const absl::Duration each = absl::Seconds(seconds / (kTargets * kRounds));
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < kTargets; ++i) {
      const size_t which = (i + static_cast<size_t>(round)) % kTargets;
      const double cpu_before = CpuSeconds(server);
      const Sample sample = loads[which]->Run(each);
      Gathered& all = gathered[which];
      all.cpu_seconds += CpuSeconds(server) - cpu_before;
      all.seconds += sample.seconds;
      all.failures += sample.failures;
      all.latencies_us.insert(all.latencies_us.end(), sample.latencies_us.begin(),
                              sample.latencies_us.end());
    }
  }
  std::array<Result, kTargets> results;
  for (size_t i = 0; i < kTargets; ++i) {
    failures += gathered[i].failures;
    results[i] = gathered[i].Summarize();
  }
  return results;
}

nlohmann::json ToJson(const Result& result) {
  return {{"calls_per_s", result.calls_per_s},
          {"p50_us", result.p50_us},
          {"p99_us", result.p99_us},
          {"server_cpu_us", result.server_cpu_us}};
}

nlohmann::json Ratios(const Result& of, const Result& to) {
  return {{"throughput", of.calls_per_s / to.calls_per_s},
          {"p50", of.p50_us / to.p50_us},
          {"p99", of.p99_us / to.p99_us},
          {"server_cpu", of.server_cpu_us / to.server_cpu_us}};
}

// 0, or 1 when a call failed.
int RunLoads(const Arguments& arguments, const Sockets& sockets, pid_t server) {
  const std::array<Target, kTargets> targets{{{"keyturn", sockets.agent},
                                              {"bare", sockets.shared},
                                              {"bare_per_connection", sockets.per_connection}}};
  nlohmann::json report{{"benchmark", "Credentials.Get"},
                        {"credentials", kCredentials},
                        {"layout", "server and load in two processes on one machine"},
                        {"runs", nlohmann::json::array()}};
  uint64_t failures = 0;
  std::printf("%9s %-20s %10s %9s %9s %11s %11s %9s\n", "in flight", "server", "calls/s", "p50 us",
              "p99 us", "CPU us/call", "throughput", "p99");
  for (const auto& [in_flight, channels] : {std::pair(1, 1), std::pair(8, 4), std::pair(64, 4)}) {
    const auto results = Measure(targets, channels, in_flight, arguments.seconds, server, failures);
    nlohmann::json run{{"in_flight", in_flight}, {"channels", channels}};
    for (size_t i = 0; i < kTargets; ++i) {
      const Result& result = results[i];
      run[targets[i].name] = ToJson(result);
      std::printf("%9d %-20s %10.0f %9.0f %9.0f %11.1f %10.2fx %8.2fx\n", in_flight,
                  targets[i].name, result.calls_per_s, result.p50_us, result.p99_us,
                  result.server_cpu_us, result.calls_per_s / results[1].calls_per_s,
                  result.p99_us / results[1].p99_us);
    }
    run["keyturn_to_bare"] = Ratios(results[0], results[1]);
    run["keyturn_to_bare_per_connection"] = Ratios(results[0], results[2]);
    report["runs"].push_back(std::move(run));
  }
  report["failed_calls"] = failures;
  if (!arguments.json.empty()) {
    std::ofstream file(arguments.json);
    file << report.dump(2) << "\n";
    if (!file.flush()) {
      std::fprintf(stderr, "keyturn_bench: cannot write %s\n", arguments.json.c_str());
      return 1;
    }
  }
  if (failures != 0) {
    std::fprintf(stderr, "keyturn_bench: %llu calls failed\n",
                 static_cast<unsigned long long>(failures));
  }
  return failures == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, arguments)) {
    std::fprintf(stderr, "usage: keyturn_bench [--json FILE] [--seconds N]\n");
    return 2;
  }
  const fakes::TemporaryDirectory directory;
  const Sockets sockets(directory.path());
  int ends[2];
  KEYTURN_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "a socket pair");
  const pid_t server = fork();
  KEYTURN_CHECK(server >= 0, "a second process");
  if (server == 0) {
    close(ends[0]);
    ServeUntilClosed(sockets, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  char byte = 0;
  int result = 1;
  if (read(ends[0], &byte, 1) == 1) result = RunLoads(arguments, sockets, server);
  close(ends[0]);
  waitpid(server, nullptr, 0);
  return result;
}

}  // namespace
}  // namespace keyturn::bench

int main(int argc, char** argv) { return keyturn::bench::Main(argc, argv); }

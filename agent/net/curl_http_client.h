// SPDX-License-Identifier: Apache-2.0
// HttpClient over libcurl: all exchanges on one thread, at most a fixed number at once, the others
// waiting in a bounded queue. TLS 1.2 or newer, always verified; HTTP/1.1; nothing from the
// environment, no proxy, no redirects, no cookies. Every address is judged by the egress rules when
// the socket is opened, so a name that changes its address between check and use gains nothing.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/clock.h"
#include "agent/net/egress.h"
#include "agent/net/http_client.h"

namespace keyturn::net {

class CurlHttpClient final : public HttpClient {
 public:
  struct Options {
    EgressRules egress;
    // CA certificates in PEM instead of the system's.
    std::string ca_file;
    // Beyond these a request ends as kNotSent, `overloaded`.
    size_t queue_max = 1024;
    size_t concurrent_max = 64;
  };

  // InvalidArgument when the CA file cannot be read.
  static absl::StatusOr<std::unique_ptr<CurlHttpClient>> Create(Options options,
                                                                base::Clock& clock);
  // Stops first.
  ~CurlHttpClient() override;

  void Send(HttpRequest request, Done done) override;

  // Ends every exchange, those under way as kUnknown and those not sent as kNotSent, with the cause
  // `stopped`, and returns when all are answered. Later requests end the same way. Idempotent; not
  // to be called from a `done`.
  void Stop();

 private:
  struct Exchange;
  struct Loop;

  CurlHttpClient(Options options, base::Clock& clock);
  void Run();
  // Moves what waits into the loop; false when the client is to end.
  bool TakeWork();

  const Options options_;
  base::Clock& clock_;
  std::unique_ptr<Loop> loop_;

  absl::Mutex mu_;
  std::deque<std::unique_ptr<Exchange>> queue_ ABSL_GUARDED_BY(mu_);
  // Refused on arrival; only kept until the thread has answered them.
  std::vector<std::unique_ptr<Exchange>> refused_ ABSL_GUARDED_BY(mu_);
  // Taken in and not yet answered.
  size_t open_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace keyturn::net

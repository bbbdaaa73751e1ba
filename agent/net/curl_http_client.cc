// SPDX-License-Identifier: Apache-2.0
// The thread owns the curl multi handle and every exchange it took; only the queue is shared. A
// `done` is always called on that thread with no lock held.
#include "agent/net/curl_http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "agent/net/curl_exchange.h"

namespace keyturn::net {

struct CurlHttpClient::Exchange : CurlExchange {
  using CurlExchange::CurlExchange;
};

struct CurlHttpClient::Loop {
  CURLM* multi = nullptr;
  std::map<CURL*, std::unique_ptr<Exchange>> active;
};

absl::StatusOr<std::unique_ptr<CurlHttpClient>> CurlHttpClient::Create(Options options,
                                                                       base::Clock& clock) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) return absl::InternalError("libcurl cannot be initialized");
  if (!options.ca_file.empty() && ::access(options.ca_file.c_str(), R_OK) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the CA file ", options.ca_file, " cannot be read"));
  }
  return std::unique_ptr<CurlHttpClient>(new CurlHttpClient(std::move(options), clock));
}

CurlHttpClient::CurlHttpClient(Options options, base::Clock& clock)
    : options_(std::move(options)), clock_(clock), loop_(std::make_unique<Loop>()) {
  loop_->multi = curl_multi_init();
  KEYTURN_CHECK(loop_->multi != nullptr, "curl_multi_init");
  curl_multi_setopt(loop_->multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "http");
}

CurlHttpClient::~CurlHttpClient() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    ending_ = true;
  }
  curl_multi_wakeup(loop_->multi);
  thread_.join();
  curl_multi_cleanup(loop_->multi);
}

void CurlHttpClient::Send(HttpRequest request, Done done) {
  auto exchange = std::make_unique<Exchange>(std::move(request), std::move(done), clock_);
  {
    absl::MutexLock lock(&mu_);
    ++open_;
    if (!stopping_ && queue_.size() < options_.queue_max) {
      queue_.push_back(std::move(exchange));
    } else {
      refused_.push_back(std::move(exchange));
    }
  }
  curl_multi_wakeup(loop_->multi);
}

void CurlHttpClient::Stop() {
  absl::MutexLock lock(&mu_);
  stopping_ = true;
  curl_multi_wakeup(loop_->multi);
  mu_.Await(absl::Condition(
      +[](size_t* open) { return *open == 0; }, &open_));
}

bool CurlHttpClient::TakeWork() {
  std::vector<std::unique_ptr<Exchange>> refused;
  std::deque<std::unique_ptr<Exchange>> taken;
  bool stopping = false;
  bool ending = false;
  {
    absl::MutexLock lock(&mu_);
    stopping = stopping_;
    ending = ending_;
    refused.swap(refused_);
    while (!queue_.empty() &&
           (stopping || loop_->active.size() + taken.size() < options_.concurrent_max)) {
      taken.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
  }
  size_t answered = refused.size();
  for (auto& exchange : refused) exchange->Abandon(stopping ? "stopped" : "overloaded");
  for (auto& exchange : taken) {
    const std::string cause =
        stopping ? "stopped" : exchange->Prepare(options_.egress, options_.ca_file);
    if (cause.empty()) {
      CURL* handle = exchange->handle();
      curl_multi_add_handle(loop_->multi, handle);
      loop_->active[handle] = std::move(exchange);
    } else {
      exchange->Abandon(cause);
      ++answered;
    }
  }
  if (stopping) {
    for (auto& [handle, exchange] : loop_->active) {
      curl_multi_remove_handle(loop_->multi, handle);
      exchange->Abandon("stopped");
      ++answered;
    }
    loop_->active.clear();
  }
  absl::MutexLock lock(&mu_);
  open_ -= answered;
  return !ending || open_ > 0;
}

void CurlHttpClient::Run() {
  constexpr int kPollMsMax = 60'000;
  while (TakeWork()) {
    int running = 0;
    curl_multi_perform(loop_->multi, &running);
    size_t answered = 0;
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(loop_->multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      // The message dies with the removal.
      CURL* handle = message->easy_handle;
      const CURLcode code = message->data.result;
      curl_multi_remove_handle(loop_->multi, handle);
      const auto found = loop_->active.find(handle);
      KEYTURN_CHECK(found != loop_->active.end(), "a handle that is not ours");
      const std::unique_ptr<Exchange> exchange = std::move(found->second);
      loop_->active.erase(found);
      exchange->Finish(code);
      ++answered;
    }
    if (answered > 0) {
      absl::MutexLock lock(&mu_);
      open_ -= answered;
      continue;  // there is room for what waits
    }
    curl_multi_poll(loop_->multi, nullptr, 0, kPollMsMax, nullptr);
  }
}

}  // namespace keyturn::net
